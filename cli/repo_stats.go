package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func repoStatsCommand(e *env) *cobra.Command {
	var f directFlags
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show how large the repository is, and what it holds",
		Example: `  snapline repo stats --repo /srv/snapline --key-file /etc/snapline/key
  snapline repo stats --json | jq .pack_bytes`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withRepository(cmd.Context(), &f, func(r *openedRepository, p printer) error {
				return runRepoStats(cmd.Context(), r, p)
			})
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func runRepoStats(ctx context.Context, r *openedRepository, p printer) error {
	s, err := r.Stats(ctx)
	if err != nil {
		return err
	}
	return p.result(s, func() error {
		stored := s.PackBytes + s.IndexBytes + s.OtherBytes
		ratio := "-"
		if stored > 0 {
			ratio = fmt.Sprintf("%.1f to 1", float64(s.RawBytes)/float64(stored))
		}
		for _, row := range [][2]string{
			{"repository", s.ID + ", format " + fmt.Sprint(s.Format)},
			{"location", s.Location},
			{"snapshots", fmt.Sprintf("%d, of %s", s.Snapshots, size(s.RawBytes))},
			{"stored", fmt.Sprintf("%s (%s)", size(stored), ratio)},
			{"packs", fmt.Sprintf("%d, %s", s.Packs, size(s.PackBytes))},
			{"indexes", fmt.Sprintf("%d, %s", s.Indexes, size(s.IndexBytes))},
			{"objects", fmt.Sprintf("%d different pages and map nodes", s.Objects)},
		} {
			if err := p.line("%-12s%s", row[0], row[1]); err != nil {
				return err
			}
		}
		return nil
	})
}
