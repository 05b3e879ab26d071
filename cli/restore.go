package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type restoreOptions struct {
	request snapline.RestoreRequest
}

func restoreCommand(e *env) *cobra.Command {
	var pairs []string
	var replay string
	cmd := &cobra.Command{
		Use:   "restore SNAPSHOT",
		Short: "Bring a whole group back to what it was at a snapshot",
		Long: `Bring all members of a group back to what they were at a snapshot, on the hosts
where they ran then or on others. Members that run now are stopped first: what
they did since the snapshot is lost. Everything that can be checked is checked
before that.

With --replay-channel the packets that were in transit across the cut are delivered
once all members run. TCP sends them again by itself; for what nobody sends again,
as over UDP without acknowledgements, this makes that the cut loses nothing. It is
refused when they are not all known; --replay-channel=known delivers what is.`,
		Example: `  snapline restore etcd-7
  snapline restore etcd-7 --place n1=h2,n2=h3
  snapline restore etcd-7 --replay-channel`,
		SuggestFor:        []string{"rollback", "revert", "resume"},
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: e.completeSnapshots(),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := snapshotArg(args[0])
			if err != nil {
				return err
			}
			place, err := parsePlace(pairs)
			if err != nil {
				return err
			}
			o := restoreOptions{snapline.RestoreRequest{Snapshot: id, Place: place, ReplayChannel: snapline.Replay(replay)}}
			return e.with(func(svc api.Service, p printer) error { return runRestore(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().StringSliceVar(&pairs, "place", nil, "`MEMBER=HOST,...`: where members are to run, if not where they were captured")
	completeFlag(cmd, "place", e.completePlace)
	cmd.Flags().StringVar(&replay, "replay-channel", "", "deliver the packets in transit: complete, or what is known")
	cmd.Flags().Lookup("replay-channel").NoOptDefVal = string(snapline.ReplayComplete)
	completeFlag(cmd, "replay-channel", cobra.FixedCompletions([]string{
		string(snapline.ReplayComplete) + "\tall of them, or refuse", string(snapline.ReplayKnown) + "\twhat was kept",
	}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runRestore(ctx context.Context, svc api.Service, p printer, o restoreOptions) error {
	// An interrupt must not lose sight of what the request has started.
	if r := o.request.ReplayChannel; r != snapline.ReplayNothing && r != snapline.ReplayComplete && r != snapline.ReplayKnown {
		return invalid("", "--replay-channel=%s: use complete or known", r)
	}
	op, err := svc.Restore(context.WithoutCancel(ctx), o.request)
	if err != nil {
		return err
	}
	op, err = follow(ctx, svc, p, op, interruptRestore)
	if err != nil {
		return err
	}
	if op.Restore == nil {
		return fmt.Errorf("restore %s ended without a result", op.ID)
	}
	return p.result(op.Restore, func() error { return printRestore(p, *op.Restore) })
}

// interruptRestore is the first Ctrl-C of a restore, which it does not stop:
// half a restored group helps nobody.
func interruptRestore(_ context.Context, _ api.Service, op snapline.Operation, say func(string)) {
	say(fmt.Sprintf("the restore goes on; Ctrl-C again stops watching it (see `snapline status %s`)", op.Group))
}

func printRestore(p printer, r snapline.RestoreResult) error {
	var rows [][]any
	for _, m := range r.Members {
		rows = append(rows, []any{m.Name, m.From, m.Host, duration(m.LoadMS)})
	}
	if err := p.table([]column{left("MEMBER"), left("FROM"), left("HOST"), right("LOAD")}, rows); err != nil {
		return err
	}
	if r.Replayed != nil {
		if err := p.line("%s in transit delivered", count(*r.Replayed, "packet")); err != nil {
			return err
		}
	}
	return p.line("snapshot %s restored in %s; members resumed within %s of each other", r.ID, duration(r.DurationMS), ms(r.SkewMS))
}
