package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/api"
)

func auditCommand(e *env) *cobra.Command {
	last := 100
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who took, restored, deleted, and let whom in",
		Long: `Show who took, restored, deleted, and let whom in, oldest first. The whole log is
audit.jsonl in the coordinator's --data. Each request has two lines: one before it is
done, so that nothing is done that was not noted, and one with what came of it.`,
		Example: `  snapline audit
  snapline audit --last 1000 --json`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last < 1 || last > 10_000 {
				return invalid("", "--last %d: use 1 to 10000", last)
			}
			return e.withTrust(func(svc api.Trust, p printer) error { return runAudit(cmd.Context(), svc, p, last) })
		},
	}
	cmd.Flags().IntVar(&last, "last", last, "how many of the latest lines")
	return cmd
}

func runAudit(ctx context.Context, svc api.Trust, p printer, last int) error {
	all, err := svc.AuditLog(ctx, last)
	if err != nil {
		return err
	}
	return p.result(all, func() error {
		var rows [][]any
		for _, e := range all {
			rows = append(rows, []any{when(e.At), e.Who, e.Action, dash(e.Target), e.Outcome, e.Detail})
		}
		return p.table([]column{left("TIME"), left("WHO"), left("ACTION"), left("OF"), left("OUTCOME"), left("")}, rows)
	})
}
