package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type listOptions struct {
	group snapline.GroupName // "": all
}

// summary is one line of a list, and its JSON.
type summary struct {
	ID          snapline.SnapshotID `json:"id"`
	Group       snapline.GroupName  `json:"group"`
	Note        string              `json:"note,omitempty"`
	TakenAt     time.Time           `json:"taken_at"`
	Strategy    snapline.Strategy   `json:"strategy"`
	Members     int                 `json:"members"`
	PauseMS     float64             `json:"pause_ms"` // the longest
	RAMBytes    int64               `json:"ram_bytes"`
	StoredBytes int64               `json:"stored_bytes"`
}

func summarise(s snapline.Snapshot) summary {
	sum := summary{ID: s.ID, Group: s.Group.Name, Note: s.Note, TakenAt: s.TakenAt, Strategy: s.Cut.Strategy, Members: len(s.Members)}
	for _, m := range s.Members {
		sum.PauseMS = max(sum.PauseMS, m.Capture.PauseMS)
		sum.RAMBytes += m.VM.RAMBytes
		sum.StoredBytes += m.Object.StoredBytes
	}
	return sum
}

func listCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list [GROUP]",
		Short: "List the snapshots, oldest first",
		Example: `  snapline list
  snapline list etcd --json | jq -r '.[-1].id'`,
		Aliases:           []string{"ls"},
		SuggestFor:        []string{"snapshots"},
		Args:              atMost("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := optionalGroup(args)
			if err != nil {
				return err
			}
			return e.with(func(svc api.Service, p printer) error { return runList(cmd.Context(), svc, p, listOptions{group: g}) })
		},
	}
}

func runList(ctx context.Context, svc api.Service, p printer, o listOptions) error {
	snaps, err := svc.Snapshots(ctx, o.group)
	if err != nil {
		return err
	}
	all := []summary{}
	for _, s := range snaps {
		all = append(all, summarise(s))
	}
	return p.result(all, func() error {
		if len(all) == 0 {
			p.note("no snapshots yet: take one with `snapline take GROUP`")
			return nil
		}
		var rows [][]any
		for _, s := range all {
			rows = append(rows, []any{s.ID, when(s.TakenAt), s.Strategy, s.Members, ms(s.PauseMS), size(s.RAMBytes), size(s.StoredBytes), firstLine(s.Note)})
		}
		return p.table([]column{left("SNAPSHOT"), left("TAKEN"), left("CUT"), right("MEMBERS"), right("MAX PAUSE"), right("RAM"), right("STORED"), left("NOTE")}, rows)
	})
}
