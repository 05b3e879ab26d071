package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type recoverOptions struct {
	request snapline.RecoverRequest
	dryRun  bool
}

func recoverCommand(e *env) *cobra.Command {
	var o recoverOptions
	var dead []string
	cmd := &cobra.Command{
		Use:   "recover GROUP",
		Short: "Bring a group back from its last snapshot, on the hosts that remain",
		Long: `Bring a group back from its last snapshot on the hosts that remain; Snapline
chooses them by memory, cores and the group file's anti_affinity. A protected
group is brought back like this without anybody asking.

A member that may still be running on a host that cannot be asked refuses it,
unless its group is protected, so that its network has closed by itself. If you
know that the host is off, say so with --dead.`,
		Example: `  snapline recover etcd --dry-run
  snapline recover etcd --dead h2`,
		SuggestFor:        []string{"failover", "heal"},
		Args:              exactly("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := groupArg(args[0])
			if err != nil {
				return err
			}
			o.request = snapline.RecoverRequest{Group: g}
			for _, h := range dead {
				if err := snapline.CheckName("host", h); err != nil {
					return invalid("write --dead h2", "%v", err)
				}
				o.request.Dead = append(o.request.Dead, snapline.HostName(h))
			}
			return e.with(func(svc api.Service, p printer) error { return runRecover(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().StringSliceVar(&dead, "dead", nil, "`HOST,...` that are off for certain: their machines are not waited for")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "change nothing; say what would be done")
	return cmd
}

func runRecover(ctx context.Context, svc api.Service, p printer, o recoverOptions) error {
	if o.dryRun {
		plan, err := svc.PlanRecovery(ctx, o.request)
		if err != nil {
			return err
		}
		return p.result(plan, func() error { return printPlan(p, plan) })
	}
	op, err := svc.Recover(context.WithoutCancel(ctx), o.request)
	if err != nil {
		return err
	}
	if op, err = follow(ctx, svc, p, op, interruptRestore); err != nil {
		return err
	}
	if op.Restore == nil {
		return fmt.Errorf("restore %s ended without a result", op.ID)
	}
	return p.result(op.Restore, func() error { return printRestore(p, *op.Restore) })
}

func printPlan(p printer, plan snapline.RecoveryPlan) error {
	if err := p.line("would restore %s, taken %s: %v would be lost", plan.Snapshot, when(plan.TakenAt), fromMS(plan.LossMS).Round(time.Second)); err != nil {
		return err
	}
	for _, h := range plan.Lost {
		if err := p.line("without host %s", h); err != nil {
			return err
		}
	}
	if err := printPlace(p, plan); err != nil {
		return err
	}
	if plan.Reasons == nil {
		return nil
	}
	if err := p.line("it cannot be done now:"); err != nil {
		return err
	}
	for _, r := range plan.Reasons {
		if err := p.line("  - %s", r); err != nil {
			return err
		}
	}
	return nil
}

// printPlace says who would go where, and what of it the caches of hosts decide.
func printPlace(p printer, plan snapline.RecoveryPlan) error {
	if plan.Place == nil {
		return nil
	}
	columns := []column{left("MEMBER"), left("HOST")}
	if plan.Near != nil {
		columns = append(columns, left("IN ITS CACHE"))
	}
	var rows [][]any
	members := slices.Sorted(maps.Keys(plan.Place))
	for _, m := range members {
		row := []any{m, plan.Place[m]}
		if n, ok := plan.Near[m]; ok {
			row = append(row, fmt.Sprintf("%s of %s", size(n.Bytes), size(n.Of)))
		} else if plan.Near != nil {
			row = append(row, "")
		}
		rows = append(rows, row)
	}
	if err := p.table(columns, rows); err != nil {
		return err
	}
	for _, m := range members {
		if h := plan.Otherwise[m]; h != "" && h != plan.Place[m] {
			if err := p.line("%s would go to %s if no host had any of the snapshot in its cache", m, h); err != nil {
				return err
			}
		}
	}
	return nil
}
