package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/snapline/snapline"
)

// Commit implements snapline.Repository. An error other than ErrExists from a
// disk that fails at the very end leaves open whether the snapshot exists;
// Snapshot tells.
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
	if err := r.absent(s.ID); err != nil {
		return err
	}
	if err := r.complete(s); err != nil {
		return err
	}
	content, err := encodeRecord(s)
	if err != nil {
		return err
	}
	tmp, err := writeTmp(r.dataDir(s.ID), content)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	r.done("commit: written")
	if err := link(tmp, r.recordFile(s.ID)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return snapline.ErrExists
		}
		return err
	}
	r.done("commit: linked")
	// A Delete that found no record yet may have taken the data meanwhile.
	if err := r.complete(s); err != nil {
		return errors.Join(err, os.Remove(r.recordFile(s.ID)), syncDir(r.recordRoot()))
	}
	if err := syncDir(r.recordRoot()); err != nil {
		return err
	}
	r.done("commit: named")
	return nil
}

// complete reports which member's data is not there in the right size.
func (r *Repository) complete(s snapline.Snapshot) error {
	for _, m := range s.Members {
		st, err := os.Lstat(r.dataFile(s.ID, m.Name))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: it is not there", snapline.ErrDamaged)
		}
		if err == nil {
			err = checkSize(st, m.Object)
		}
		if err != nil {
			return fmt.Errorf("data of %s: %w", m.Name, err)
		}
	}
	return nil
}

// Snapshot implements snapline.Repository.
func (r *Repository) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	var none snapline.Snapshot
	if err := errors.Join(ctx.Err(), checkID(id)); err != nil {
		return none, fmt.Errorf("snapshot %s: %w", id, err)
	}
	b, err := os.ReadFile(r.recordFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return none, fmt.Errorf("snapshot %s: %w", id, snapline.ErrNotFound)
	}
	if err != nil {
		return none, fmt.Errorf("snapshot %s: %w", id, err)
	}
	s, err := decodeRecord(id, b)
	if err != nil {
		return none, fmt.Errorf("record of snapshot %s: %w", id, err)
	}
	return s, nil
}

// List implements snapline.Repository. Snapshots of the same moment are listed
// by id.
func (r *Repository) List(ctx context.Context) ([]snapline.Snapshot, error) {
	entries, err := os.ReadDir(r.recordRoot())
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var list []snapline.Snapshot
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), recordSuffix)
		id := snapline.SnapshotID(name)
		if !ok || checkID(id) != nil {
			continue // nothing that we wrote
		}
		s, err := r.Snapshot(ctx, id)
		switch {
		case err == nil:
			list = append(list, s)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("list snapshots: %w", ctx.Err())
		case !errors.Is(err, snapline.ErrNotFound): // else: deleted meanwhile
			errs = append(errs, err)
		}
	}
	slices.SortFunc(list, older)
	return list, errors.Join(errs...)
}

func older(a, b snapline.Snapshot) int {
	if c := a.TakenAt.Compare(b.TakenAt); c != 0 {
		return c
	}
	ga, ra, _ := a.ID.Split()
	gb, rb, _ := b.ID.Split()
	return cmp.Or(cmp.Compare(ga, gb), cmp.Compare(ra, rb))
}
