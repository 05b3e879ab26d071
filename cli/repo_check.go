package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository"
)

func repoCheckCommand(e *env) *cobra.Command {
	var f directFlags
	var deep bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for damage in the whole repository",
		Long: `Look for damage in the whole repository. Without --deep it reads records,
indexes and page maps, and compares the sizes of packs; with it, it reads and
hashes everything. Nothing is changed.

Damage is exit status 7, and each reason names the snapshots, the members and
the pages that are lost. See "snapline repo repair --help" for damaged indexes.`,
		Example: `  snapline repo check --repo /srv/snapline --key-file /etc/snapline/key
  snapline repo check --deep --json`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withRepository(cmd.Context(), &f, func(r *openedRepository, p printer) error {
				return runRepoCheck(cmd.Context(), r, p, deep)
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&deep, "deep", false, "read and hash every page")
	return cmd
}

func runRepoCheck(ctx context.Context, r *openedRepository, p printer, deep bool) error {
	report, err := r.Check(ctx, deep)
	if err != nil {
		return err
	}
	if n := len(report.Problems); n > 0 {
		return &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("%s found in %s, read from %s", count(n, "damage"), count(report.Snapshots, "snapshot"), r.Location()),
			Reasons: damageReasons(report.Problems), Hint: damageHint(report.Problems)}
	}
	if report.Problems == nil {
		report.Problems = []repository.Problem{}
	}
	return p.result(report, func() error {
		how := "records, indexes and page maps were read"
		if deep {
			how = "everything was read: " + size(report.BytesRead)
		}
		if report.Unused > 0 {
			p.note("%s of %s are of no use: snapline repo prune frees them", count(report.Unused, "blob"), size(report.UnusedBytes))
		}
		return p.line("no damage in %s and %s; %s", count(report.Snapshots, "snapshot"), count(report.Packs, "pack"), how)
	})
}

// damageReasons tells problems as an error's reasons.
func damageReasons(problems []repository.Problem) (reasons []snapline.Reason) {
	for _, p := range problems {
		reasons = append(reasons, snapline.Reason{Text: p.String(), Damaged: true})
	}
	return reasons
}

// damageHint is the next step.
func damageHint(problems []repository.Problem) string {
	for _, p := range problems {
		if strings.HasPrefix(p.Blob, "index/") {
			return "make the indexes anew with: snapline repo repair; then check again"
		}
	}
	for _, p := range problems {
		if p.Snapshot != "" {
			return "bring the damaged blobs back from a copy, or delete the snapshots that are named; then check again"
		}
	}
	return "bring the damaged blobs back from a copy; then check again"
}
