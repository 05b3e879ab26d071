package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/api"
)

func hostsCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts and their agents",
		Example: `  snapline hosts
  snapline hosts --json`,
		SuggestFor:        []string{"agents", "nodes"},
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(func(svc api.Service, p printer) error { return runHosts(cmd.Context(), svc, p) })
		},
	}
}

func runHosts(ctx context.Context, svc api.Service, p printer) error {
	hosts, err := svc.Hosts(ctx)
	if err != nil {
		return err
	}
	return p.result(hosts, func() error {
		if len(hosts) == 0 {
			p.note("no host has joined yet: run `snapline agent` on each")
			return nil
		}
		var rows [][]any
		for _, h := range hosts {
			agent := h.Agent
			if h.Drained {
				agent += ", drained"
			}
			rows = append(rows, []any{h.Name, agent, dash(h.Hypervisor), dash(h.Version), h.Cores, size(h.AvailableBytes), when(h.LastSeen)})
		}
		return p.table([]column{left("HOST"), left("AGENT"), left("HYPERVISOR"), left("VERSION"), right("CORES"), right("FREE MEMORY"), left("LAST SEEN")}, rows)
	})
}
