package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type deleteOptions struct {
	snapshot snapline.SnapshotID
}

func deleteCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "delete SNAPSHOT",
		Short:             "Delete a snapshot",
		Long:              "Delete a snapshot's record and data. There is no way back, and no question.",
		Example:           "  snapline delete etcd-7",
		Aliases:           []string{"rm"},
		SuggestFor:        []string{"remove"},
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: e.completeSnapshots(),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := snapshotArg(args[0])
			if err != nil {
				return err
			}
			return e.with(func(svc api.Service, p printer) error {
				return runDelete(cmd.Context(), svc, p, deleteOptions{snapshot: id})
			})
		},
	}
}

func runDelete(ctx context.Context, svc api.Service, p printer, o deleteOptions) error {
	if err := svc.Delete(ctx, o.snapshot); err != nil {
		return err
	}
	done := struct {
		ID    snapline.SnapshotID `json:"id"`
		State string              `json:"state"`
	}{o.snapshot, "deleted"}
	return p.result(done, func() error { return p.line("deleted %s", o.snapshot) })
}
