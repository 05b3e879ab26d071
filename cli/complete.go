package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/api"
)

// completionTimeout is how long a shell's Tab may wait for the coordinator.
const completionTimeout = time.Second

type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// complete asks the coordinator for the first argument's values; no answer is
// no completion.
func (e *env) complete(values func(context.Context, api.Service) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return e.ask(values), cobra.ShellCompDirectiveNoFileComp
	}
}

func (e *env) ask(values func(context.Context, api.Service) ([]string, error)) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	c, err := e.client()
	if err != nil {
		return nil
	}
	defer c.Close()
	found, err := values(ctx, c)
	if err != nil {
		return nil
	}
	return found
}

func (e *env) completeGroups() completer {
	return e.complete(func(ctx context.Context, svc api.Service) ([]string, error) {
		groups, err := svc.Groups(ctx)
		var all []string
		for _, g := range groups {
			all = append(all, fmt.Sprintf("%s\t%s", g.Group.Name, count(len(g.Group.Members), "member")))
		}
		return all, err
	})
}

func (e *env) completeSnapshots() completer {
	return e.complete(func(ctx context.Context, svc api.Service) ([]string, error) {
		snaps, err := svc.Snapshots(ctx, "")
		var all []string
		for _, s := range snaps {
			all = append(all, fmt.Sprintf("%s\t%s %s", s.ID, when(s.TakenAt), firstLine(s.Note)))
		}
		return all, err
	})
}

// completePlace completes MEMBER=HOST,MEMBER=HOST,… for the snapshot named.
func (e *env) completePlace(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) != 1 {
		return nil, directive
	}
	before := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	member, _, placing := strings.Cut(toComplete[len(before):], "=")
	return e.ask(func(ctx context.Context, svc api.Service) ([]string, error) {
		var all []string
		if placing {
			hosts, err := svc.Hosts(ctx)
			for _, h := range hosts {
				all = append(all, fmt.Sprintf("%s%s=%s", before, member, h.Name))
			}
			return all, err
		}
		id, err := snapshotArg(args[0])
		if err != nil {
			return nil, err
		}
		snap, err := svc.Snapshot(ctx, id)
		for _, m := range snap.Members {
			all = append(all, fmt.Sprintf("%s%s=", before, m.Name))
		}
		return all, err
	}), directive
}

// completeMembers completes a member of the snapshot named.
func (e *env) completeMembers(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.ask(func(ctx context.Context, svc api.Service) ([]string, error) {
		id, err := snapshotArg(args[0])
		if err != nil {
			return nil, err
		}
		snap, err := svc.Snapshot(ctx, id)
		var all []string
		for _, m := range snap.Members {
			all = append(all, string(m.Name))
		}
		return all, err
	}), cobra.ShellCompDirectiveNoFileComp
}
