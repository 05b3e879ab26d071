package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type eventsOptions struct {
	group  snapline.GroupName // "": all
	follow bool
}

func eventsCommand(e *env) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [GROUP]",
		Short: "Show what happened: snapshots, restores, lost hosts, recoveries",
		Long: `Show what happened to a group, or to all groups and hosts, oldest first. The
coordinator keeps the latest 512 events, also over its own restarts.

Where a restore has taken back what a group did, the event says how much, and
which addresses outside the group its members are known to have sent packets to:
what was sent out cannot be recalled. "snapline show" lists all of them. Of a
protected group they are known from its fences, all the time; of others from
the moments of the cut.`,
		Example: `  snapline events
  snapline events etcd --follow
  snapline events --follow --json | jq .text`,
		SuggestFor:        []string{"log", "history"},
		Args:              atMost("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := optionalGroup(args)
			if err != nil {
				return err
			}
			o.group = g
			return e.with(func(svc api.Service, p printer) error { return runEvents(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().BoolVar(&o.follow, "follow", false, "go on with what happens, until Ctrl-C")
	return cmd
}

func runEvents(ctx context.Context, svc api.Service, p printer, o eventsOptions) error {
	if o.follow {
		return followEvents(ctx, svc, p, o.group)
	}
	all, err := svc.Events(ctx, o.group, 0)
	if err != nil {
		return err
	}
	return p.result(all, func() error {
		for _, e := range all {
			if err := printEvent(p, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// followEvents prints events until ctx ends, which is no error: that is how one
// stops. With --json each is one line.
func followEvents(ctx context.Context, svc api.Service, p printer, g snapline.GroupName) error {
	events, err := svc.FollowEvents(ctx, 0)
	if err != nil {
		return err
	}
	for e := range events {
		if g != "" && e.Group != g {
			continue
		}
		show := printEvent
		if p.json {
			show = jsonEvent
		}
		if err := show(p, e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return &snapline.Error{Code: snapline.CodeUnavailable, Message: "the coordinator does not send events any more", Hint: "see whether it runs: snapline hosts"}
}

func jsonEvent(p printer, e snapline.Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return p.line("%s", b)
}

func printEvent(p printer, e snapline.Event) error {
	about := strings.TrimSpace(string(e.Group) + " " + string(e.Host))
	if err := p.line("%s  %-14s  %-8s  %s", when(e.At), e.Kind, dash(about), e.Text); err != nil {
		return err
	}
	reasons := e.Reasons
	if e.Lost != nil {
		reasons = append(slices.Clone(reasons), e.Lost.Gaps...)
	}
	for _, r := range reasons {
		if err := p.line("    - %s", r); err != nil {
			return err
		}
	}
	return nil
}
