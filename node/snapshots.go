package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/snapline/snapline"
)

// Snapshots lists the committed snapshots of one group, or of all, oldest
// first: of one group by its rounds, of all by their times. Records that cannot be read are reported in the log, beside the good
// ones: one bad record must not hide the rest.
func (c *Coordinator) Snapshots(ctx context.Context, g snapline.GroupName) ([]snapline.Snapshot, error) {
	all, err := c.Repository.List(ctx)
	if err != nil {
		if all == nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		c.Log.Warn("snapshots that cannot be read", "error", err)
	}
	out := []snapline.Snapshot{}
	for _, s := range all {
		if g == "" || s.Group.Name == g {
			out = append(out, s)
		}
	}
	if g != "" {
		snapline.SortByRound(out)
	}
	return out, nil
}

// Snapshot returns one record.
func (c *Coordinator) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	if _, _, err := id.Split(); err != nil {
		return snapline.Snapshot{}, &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error()}
	}
	s, err := c.Repository.Snapshot(ctx, id)
	switch {
	case errors.Is(err, snapline.ErrNotFound):
		return s, &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no snapshot %s", id), Hint: "snapline list shows those that there are", Err: err}
	case errors.Is(err, snapline.ErrDamaged):
		return s, &snapline.Error{Code: snapline.CodeDamaged, Message: err.Error(), Hint: "restore another snapshot; this one cannot be trusted", Err: err}
	case err != nil:
		return s, fmt.Errorf("read snapshot %s: %w", id, err)
	}
	return s, nil
}

// Delete removes a snapshot's record and data; space comes back with Prune. A
// damaged record can be deleted
// too.
func (c *Coordinator) Delete(ctx context.Context, id snapline.SnapshotID) error {
	if _, err := c.Snapshot(ctx, id); err != nil && !errors.Is(err, snapline.ErrDamaged) {
		return err
	}
	g, _, err := id.Split()
	if err != nil {
		return &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error()}
	}
	release, err := c.claim(g)
	if err != nil {
		return err
	}
	defer release()
	if err := c.Repository.Delete(ctx, id); err != nil {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}
