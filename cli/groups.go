package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

func groupsCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "groups",
		Short: "List the groups",
		Example: `  snapline groups
  snapline groups --json | jq -r '.[].group.group'`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(func(svc api.Service, p printer) error { return runGroups(cmd.Context(), svc, p) })
		},
	}
}

func runGroups(ctx context.Context, svc api.Service, p printer) error {
	groups, err := svc.Groups(ctx)
	if err != nil {
		return err
	}
	return p.result(groups, func() error {
		if len(groups) == 0 {
			p.note("no groups yet: declare one with `snapline apply -f FILE`")
			return nil
		}
		var rows [][]any
		for _, g := range groups {
			at := "-"
			if g.LastAt != nil {
				at = when(*g.LastAt)
			}
			rows = append(rows, []any{g.Group.Name, len(g.Members), hostsOf(g), dash(string(g.Last)), at, dash(string(g.Operation))})
		}
		return p.table([]column{left("GROUP"), right("MEMBERS"), left("HOSTS"), left("LAST SNAPSHOT"), left("TAKEN"), left("RUNNING")}, rows)
	})
}

// hostsOf lists the hosts on which a group runs.
func hostsOf(g snapline.GroupStatus) string {
	var hosts []string
	for _, m := range g.Members {
		hosts = append(hosts, string(m.Host))
	}
	slices.Sort(hosts)
	return strings.Join(slices.Compact(hosts), ",")
}
