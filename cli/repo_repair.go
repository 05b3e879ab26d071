package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/api"
)

func repoRepairCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "repair",
		Short: "Make the repository's indexes anew",
		Long: `Make the repository's indexes anew from what the packs say of themselves. It
helps when an index is damaged or missing. Packs that are lost stay lost, but
their pages are stored again when a machine still has them. The coordinator does
it: no snapshot is written meanwhile.`,
		Example:           "  snapline repo repair",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(func(svc api.Service, p printer) error { return runRepair(cmd.Context(), svc, p) })
		},
	}
}

func runRepair(ctx context.Context, svc api.Service, p printer) error {
	op, err := svc.Repair(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if op, err = follow(ctx, svc, p, op, interruptMaintenance); err != nil {
		return err
	}
	if op.Repair == nil {
		return fmt.Errorf("repair %s ended without a result", op.ID)
	}
	return p.result(op.Repair, func() error {
		return p.line("the indexes know %s now", count(op.Repair.Packs, "pack"))
	})
}
