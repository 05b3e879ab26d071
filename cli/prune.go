package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type pruneOptions struct{ request snapline.PruneRequest }

func pruneCommand(e *env) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune [GROUP] --keep-last N",
		Short: "Delete old snapshots and free their space",
		Long: `Delete the snapshots of a group, or of each group, that no --keep rule wants, and
free the space of all that were deleted. At least one rule is needed. A snapshot
that is being restored is never deleted; takes go on in between.

The rules count hours and days that have a snapshot, so that a group that is no
longer snapshotted keeps what it has. Hours and days are those of UTC.`,
		Example: `  snapline prune --keep-last 5 --keep-hourly 24 --keep-daily 7 --dry-run
  snapline prune etcd --keep-last 5`,
		SuggestFor:        []string{"forget", "gc", "expire"},
		Args:              atMost("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := optionalGroup(args)
			if err != nil {
				return err
			}
			o.request.Group = g
			keep := o.request.Keep
			for name, n := range map[string]int{"--keep-last": keep.Last, "--keep-hourly": keep.Hourly, "--keep-daily": keep.Daily} {
				if n < 0 {
					return invalid("", "%s %d: a number of snapshots is not negative", name, n)
				}
			}
			if keep == (snapline.KeepPolicy{}) {
				return invalid("say for example --keep-last 5 --keep-daily 7; to free space alone: snapline repo prune", "which snapshots are to be kept?")
			}
			return e.with(func(svc api.Service, p printer) error { return runPrune(cmd.Context(), svc, p, o) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.request.Keep.Last, "keep-last", 0, "keep the latest `N` snapshots of each group")
	f.IntVar(&o.request.Keep.Hourly, "keep-hourly", 0, "keep the latest snapshot of each of the last `N` hours that have one")
	f.IntVar(&o.request.Keep.Daily, "keep-daily", 0, "keep the latest snapshot of each of the last `N` days that have one")
	f.BoolVar(&o.request.DryRun, "dry-run", false, "change nothing; say what would be done")
	return cmd
}

func repoPruneCommand(e *env) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Free the space of deleted snapshots",
		Long: `Free the space of snapshots that were deleted, and of rounds that were given up.
The coordinator does it: while it writes packs anew, no snapshot is written.`,
		Example: `  snapline repo prune
  snapline repo prune --dry-run`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(func(svc api.Service, p printer) error { return runPrune(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().BoolVar(&o.request.DryRun, "dry-run", false, "change nothing; say what would be done")
	return cmd
}

func runPrune(ctx context.Context, svc api.Service, p printer, o pruneOptions) error {
	op, err := svc.Prune(context.WithoutCancel(ctx), o.request)
	if err != nil {
		return err
	}
	if op, err = follow(ctx, svc, p, op, interruptMaintenance); err != nil {
		return err
	}
	if op.Prune == nil {
		return fmt.Errorf("prune %s ended without a result", op.ID)
	}
	return p.result(op.Prune, func() error { return printPrune(p, *op.Prune) })
}

// interruptMaintenance is the first Ctrl-C of a prune or repair, which can be
// stopped at any moment.
func interruptMaintenance(ctx context.Context, svc api.Service, op snapline.Operation, say func(string)) {
	say("stopping the " + op.Kind + "; Ctrl-C again leaves at once")
	if err := svc.Cancel(ctx, op.ID); err != nil {
		say("stop: " + err.Error())
	}
}

func printPrune(p printer, r snapline.PruneResult) error {
	deleted, freed, rewritten := "deleted", "freed", "written anew"
	if r.DryRun {
		deleted, freed, rewritten = "would delete", "would free about", "to be written anew"
	}
	for _, id := range r.Deleted {
		if err := p.line("%s %s", deleted, id); err != nil {
			return err
		}
	}
	if len(r.Deleted) > 0 || r.Kept > 0 {
		if err := p.line("%d of %s kept", r.Kept, count(r.Kept+len(r.Deleted), "snapshot")); err != nil {
			return err
		}
	}
	s := r.Space
	return p.line("%s %s: %s no longer used, %d %s", freed, size(s.BytesDeleted-s.BytesWritten), count(s.PacksDeleted, "pack"), s.PacksRewritten, rewritten)
}
