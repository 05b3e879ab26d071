package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type drainOptions struct{ request snapline.DrainRequest }

func drainCommand(e *env) *cobra.Command {
	var o drainOptions
	var deadline time.Duration
	cmd := &cobra.Command{
		Use:   "drain HOST",
		Short: "Give a host back to its owner: its groups go on elsewhere",
		Long: `Give a host back to its owner. Each group that has members there is snapshotted
and the whole group restored from that snapshot, without the host, which gets no
more members until it is undrained. From just before the cut until it runs
elsewhere nothing of the group is heard, so nothing is taken back that anybody
has heard from it: for its clients it pauses, for as long as its snapshot is
stored and restored. Where a member cannot be silenced the group talks on, and
what it does in those seconds is taken back; the result says so.

What has not gone at the deadline is ended there if its group is protected, and
the group comes back by recovery; members of groups that are not protected run
on, and the drain fails.`,
		Example: `  snapline drain h2
  snapline drain h2 --deadline 20s`,
		Args:              exactly("HOST"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := hostArg(args[0])
			if err != nil {
				return err
			}
			if deadline <= 0 {
				return invalid("", "--deadline %v: it must be above zero", deadline)
			}
			o.request = snapline.DrainRequest{Host: h, DeadlineMS: inMS(deadline)}
			return e.with(func(svc api.Service, p printer) error { return runDrain(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().DurationVar(&deadline, "deadline", time.Minute, "when the host is given back at the latest")
	return cmd
}

func hostArg(s string) (snapline.HostName, error) {
	if err := snapline.CheckName("host", s); err != nil {
		return "", invalid("see `snapline hosts`", "%v", err)
	}
	return snapline.HostName(s), nil
}

func runDrain(ctx context.Context, svc api.Service, p printer, o drainOptions) error {
	op, err := svc.Drain(context.WithoutCancel(ctx), o.request)
	if err != nil {
		return err
	}
	if op, err = follow(ctx, svc, p, op, interruptMaintenance); err != nil {
		return err
	}
	if op.Drain == nil {
		return fmt.Errorf("drain %s ended without a result", op.ID)
	}
	return p.result(op.Drain, func() error { return printDrain(p, *op.Drain) })
}

func printDrain(p printer, r snapline.DrainResult) error {
	for _, g := range r.Moved {
		if err := p.line("group %s goes on from %s%s", g.Group, g.Snapshot, moveCost(g)); err != nil {
			return err
		}
	}
	for _, g := range r.Released {
		if err := p.line("group %s was ended there at the deadline, and comes back by recovery: see `snapline status %s`", g, g); err != nil {
			return err
		}
	}
	return p.line("host %s was given back in %s", r.Host, duration(r.DurationMS))
}

// moveCost says what others have noticed of a group's move.
func moveCost(g snapline.MovedGroup) string {
	text := ""
	if g.SilentMS > 0 {
		text = fmt.Sprintf("; it was silent for %s", duration(g.SilentMS))
	}
	if g.TakenBackMS > 0 {
		text += fmt.Sprintf("; what it did for %s is taken back", duration(g.TakenBackMS))
	}
	for _, r := range g.Reasons {
		text += fmt.Sprintf("; %s", r)
	}
	return text
}

func undrainCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "undrain HOST",
		Short:             "Let a host have members again; none is moved back by that",
		Example:           "  snapline undrain h2",
		Args:              exactly("HOST"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := hostArg(args[0])
			if err != nil {
				return err
			}
			return e.with(func(svc api.Service, p printer) error { return runUndrain(cmd.Context(), svc, p, h) })
		},
	}
}

func runUndrain(ctx context.Context, svc api.Service, p printer, h snapline.HostName) error {
	if err := svc.Undrain(ctx, h); err != nil {
		return err
	}
	result := struct {
		Host  snapline.HostName `json:"host"`
		State string            `json:"state"`
	}{h, "undrained"}
	return p.result(result, func() error { return p.line("host %s may have members again", h) })
}
