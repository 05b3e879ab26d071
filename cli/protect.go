package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type protectOptions struct{ request snapline.ProtectRequest }

func protectCommand(e *env) *cobra.Command {
	var o protectOptions
	var every, maxLoss time.Duration
	cmd := &cobra.Command{
		Use:   "protect GROUP --every 5m",
		Short: "Take a snapshot at every interval, and bring the group back when a host is lost",
		Long: `Take a snapshot of the group at every interval, and bring the group back, without
a person, when a host is lost or a member's machine is gone: the whole group is
restored from its last snapshot on the hosts that remain. What it did since that
snapshot is lost.

A host counts as lost when its lease has run out (coordinator --lease): by then
its kernel has closed its members' network, whatever has become of its agent.

Snapshots never overlap; one that fails is tried again. --keep-… is applied to
the protection's own snapshots, those that a person took stay. When the last
snapshot is older than --max-loss the protection is "late", which status and
events say; the group is brought back from it all the same.`,
		Example: `  snapline protect etcd --every 5m --keep-last 6
  snapline protect etcd --every 30s --keep-last 4 --keep-hourly 24 --max-loss 2m
  snapline status etcd`,
		Args:              exactly("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := groupArg(args[0])
			if err != nil {
				return err
			}
			if every == 0 {
				return invalid("say for example --every 5m", "how often? --every is missing")
			}
			o.request.Group, o.request.EveryMS, o.request.MaxLossMS = g, inMS(every), inMS(maxLoss)
			return e.with(func(svc api.Service, p printer) error { return runProtect(cmd.Context(), svc, p, o) })
		},
	}
	f := cmd.Flags()
	f.DurationVar(&every, "every", 0, "`time` from one snapshot's beginning to the next one's, 30s, 5m, …")
	f.DurationVar(&maxLoss, "max-loss", 0, "how old the last snapshot may be before the protection is late (default twice --every)")
	f.IntVar(&o.request.Keep.Last, "keep-last", 0, "keep the latest `N` of its snapshots (default: all)")
	f.IntVar(&o.request.Keep.Hourly, "keep-hourly", 0, "keep the latest one of each of the last `N` hours that have one")
	f.IntVar(&o.request.Keep.Daily, "keep-daily", 0, "keep the latest one of each of the last `N` days that have one")
	return cmd
}

func runProtect(ctx context.Context, svc api.Service, p printer, o protectOptions) error {
	s, err := svc.Protect(ctx, o.request)
	if err != nil {
		return err
	}
	return p.result(s, func() error { return printStatus(p, s) })
}

func unprotectCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "unprotect GROUP",
		Short:             "End a group's protection; its snapshots stay",
		Example:           "  snapline unprotect etcd",
		Args:              exactly("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := groupArg(args[0])
			if err != nil {
				return err
			}
			return e.with(func(svc api.Service, p printer) error { return runUnprotect(cmd.Context(), svc, p, g) })
		},
	}
}

func runUnprotect(ctx context.Context, svc api.Service, p printer, g snapline.GroupName) error {
	if err := svc.Unprotect(ctx, g); err != nil {
		return err
	}
	result := struct {
		Group snapline.GroupName `json:"group"`
		State string             `json:"state"`
	}{g, "unprotected"}
	return p.result(result, func() error { return p.line("group %s is no longer protected", g) })
}

// inMS is a duration in the API's milliseconds.
func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// printProtection says how a protection is, if there is one.
func printProtection(p printer, of *snapline.Protection) error {
	if of == nil {
		return nil
	}
	next := ""
	if of.NextAt != nil {
		next = ", the next one at " + when(*of.NextAt)
	}
	if err := p.line("protection %s: a snapshot every %v%s; at most %v may be lost", of.State, fromMS(of.EveryMS), next, fromMS(of.MaxLossMS)); err != nil {
		return err
	}
	for _, r := range of.Reasons {
		if err := p.line("  - %s", r); err != nil {
			return err
		}
	}
	return nil
}

func fromMS(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
