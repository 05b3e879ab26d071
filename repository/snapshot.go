package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
)

// Commit implements snapline.Repository. After an error other than ErrExists
// from storage that fails at the very end, only Snapshot tells whether the
// snapshot exists.
func (r *Repository) Commit(ctx context.Context, s snapline.Snapshot) error {
	if err := r.commit(ctx, s); err != nil {
		return fmt.Errorf("commit %s: %w", s.ID, r.full(err))
	}
	return nil
}

func (r *Repository) commit(ctx context.Context, s snapline.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkRecord(s); err != nil {
		return err
	}
	if err := r.absent(ctx, s.ID); err != nil {
		return err
	}
	if err := r.complete(ctx, s); err != nil {
		return err
	}
	b, err := encodeRecord(r.master, s)
	if err != nil {
		return err
	}
	if err := r.store.Create(ctx, manifestName(s.ID), b); err != nil {
		if errors.Is(err, blob.ErrExists) {
			return cmp.Or(r.absent(ctx, s.ID), snapline.ErrExists)
		}
		return err
	}
	// A Delete that found no record yet may have taken the data meanwhile.
	if err := r.complete(ctx, s); err != nil {
		return errors.Join(err, r.store.Delete(context.WithoutCancel(ctx), manifestName(s.ID)))
	}
	return nil
}

// absent returns ErrExists when the snapshot has been committed, and ErrGivenUp
// when its round has been given up.
func (r *Repository) absent(ctx context.Context, id snapline.SnapshotID) error {
	size, err := r.store.Size(ctx, manifestName(id))
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch _, given, err := r.givenUp(ctx, manifestName(id), size); {
	case err != nil:
		return err
	case given:
		return fmt.Errorf("snapshot %s: %w", id, snapline.ErrGivenUp)
	}
	return fmt.Errorf("snapshot %s: %w", id, snapline.ErrExists)
}

// complete reports which root is not there as the record has it.
func (r *Repository) complete(ctx context.Context, s snapline.Snapshot) error {
	for name, o := range objects(s) {
		if _, err := r.readRoot(ctx, s.ID, name, o); err != nil {
			return fmt.Errorf("data of %s: %w", name, err)
		}
	}
	return nil
}

// objects yields what a snapshot consists of: members, and MEMBER.DISK.
func objects(s snapline.Snapshot) iter.Seq2[string, snapline.Object] {
	return func(yield func(string, snapline.Object) bool) {
		for _, m := range s.Members {
			if !yield(string(m.Name), m.Object) {
				return
			}
			for name, o := range m.DiskObjects() {
				if !yield(diskObject(m.Name, name), o) {
					return
				}
			}
			if e := m.Evidence; e != nil {
				if !yield(diskObject(m.Name, snapline.TraceName), e.Trace) {
					return
				}
				if e.Channel != nil && !yield(diskObject(m.Name, snapline.ChannelName), *e.Channel) {
					return
				}
			}
		}
	}
}

// Snapshot implements snapline.Repository.
func (r *Repository) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	var none snapline.Snapshot
	if err := errors.Join(ctx.Err(), checkID(id)); err != nil {
		return none, fmt.Errorf("snapshot %s: %w", id, err)
	}
	b, err := readBlob(ctx, r.store, manifestName(id))
	if errors.Is(err, blob.ErrNotFound) {
		return none, fmt.Errorf("snapshot %s: %w", id, snapline.ErrNotFound)
	}
	if err != nil {
		return none, fmt.Errorf("snapshot %s: %w", id, err)
	}
	if _, given := parseGivenUp(b); given {
		return none, fmt.Errorf("snapshot %s: %w: %w", id, snapline.ErrNotFound, snapline.ErrGivenUp)
	}
	s, err := decodeRecord(r.master, id, b)
	if err != nil {
		return none, fmt.Errorf("record of snapshot %s: %w", id, damaged(err))
	}
	return s, nil
}

// List implements snapline.Repository. Snapshots of the same moment are listed
// by id.
func (r *Repository) List(ctx context.Context) ([]snapline.Snapshot, error) {
	ids, _, err := r.listIDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	got := make([]snapline.Snapshot, len(ids))
	errs := make([]error, len(ids))
	var g errgroup.Group
	g.SetLimit(8) // to hide the latency of remote storage
	for i, id := range ids {
		g.Go(func() error {
			got[i], errs[i] = r.Snapshot(ctx, id)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	if ctx.Err() != nil {
		return nil, fmt.Errorf("list snapshots: %w", ctx.Err())
	}
	var list []snapline.Snapshot
	var bad []error
	for i, err := range errs {
		switch {
		case err == nil:
			list = append(list, got[i])
		case !errors.Is(err, snapline.ErrNotFound): // else: deleted meanwhile
			bad = append(bad, err)
		}
	}
	slices.SortFunc(list, older)
	return list, errors.Join(bad...)
}

// listIDs returns the ids of the snapshots that exist, and those of the rounds
// that were given up, with the time.
func (r *Repository) listIDs(ctx context.Context) (ids []snapline.SnapshotID, givenUp map[snapline.SnapshotID]time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	givenUp = map[snapline.SnapshotID]time.Time{}
	err = r.store.List(ctx, manifestPrefix, func(name string, size int64) error {
		id := snapline.SnapshotID(strings.TrimPrefix(name, manifestPrefix))
		if checkID(id) != nil {
			return nil // nothing that we wrote
		}
		switch at, given, err := r.givenUp(ctx, name, size); {
		case err != nil:
			return err
		case given:
			givenUp[id] = at
		default:
			ids = append(ids, id)
		}
		return nil
	})
	return ids, givenUp, err
}

func older(a, b snapline.Snapshot) int {
	if c := a.TakenAt.Compare(b.TakenAt); c != 0 {
		return c
	}
	ga, ra, _ := a.ID.Split()
	gb, rb, _ := b.ID.Split()
	return cmp.Or(cmp.Compare(ga, gb), cmp.Compare(ra, rb))
}

// Delete implements snapline.Repository. The pages' space comes back with
// Prune. After an error, or a crash, call it again: it goes on with what is
// left.
func (r *Repository) Delete(ctx context.Context, id snapline.SnapshotID) error {
	found, err := r.delete(ctx, id)
	if err == nil && !found {
		err = snapline.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	return nil
}

func (r *Repository) delete(ctx context.Context, id snapline.SnapshotID) (found bool, err error) {
	if err := errors.Join(ctx.Err(), checkID(id)); err != nil {
		return false, err
	}
	record, err := r.remove(ctx, manifestName(id))
	if err != nil {
		return false, err
	}
	roots, err := r.deleteRoots(ctx, id)
	if err != nil {
		return false, err
	}
	// Once more: a Commit may have come in between. One that comes from now on
	// finds the roots gone and takes its record back.
	late, err := r.remove(ctx, manifestName(id))
	return record || late || roots > 0, err
}

// deleteRoots deletes what was put for a snapshot, and returns how much of it
// there was.
func (r *Repository) deleteRoots(ctx context.Context, id snapline.SnapshotID) (int, error) {
	var names []string
	if err := r.store.List(ctx, rootName(id, ""), func(name string, _ int64) error {
		names = append(names, name)
		return nil
	}); err != nil {
		return 0, err
	}
	for _, name := range names {
		if err := r.store.Delete(ctx, name); err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

// remove deletes a record and reports whether there was one.
func (r *Repository) remove(ctx context.Context, name string) (found bool, err error) {
	size, err := r.store.Size(ctx, name)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, given, err := r.givenUp(ctx, name, size); err != nil || given {
		return false, err
	}
	return true, r.store.Delete(ctx, name)
}
