package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// deletedPrefix begins the names of data on their way out.
const deletedPrefix = ".deleted-"

// Delete implements snapline.Repository. After an error, or a crash, call it
// again: it goes on with what is left.
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
	record, err := r.removeRecord(id)
	if err != nil {
		return false, err
	}
	data, err := r.setAside(id)
	if err != nil {
		return false, err
	}
	// Once more: a Commit may have come in between. One that comes from now on
	// finds the data gone and takes its record back.
	late, err := r.removeRecord(id)
	if err != nil {
		return false, err
	}
	if err := os.RemoveAll(r.aside(id)); err != nil {
		return false, err
	}
	r.done("delete: removed")
	return record || data || late, nil
}

// removeRecord ends the snapshot's existence, durably.
func (r *Repository) removeRecord(id snapline.SnapshotID) (found bool, err error) {
	err = os.Remove(r.recordFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.done("delete: record unlinked")
	if err := syncDir(r.recordRoot()); err != nil {
		return false, err
	}
	r.done("delete: record gone")
	return true, nil
}

// setAside takes the data away in one step, so that a Put that is still running
// for a round given up cannot finish. It reports whether there is something to
// remove, if only from an earlier Delete.
func (r *Repository) setAside(id snapline.SnapshotID) (found bool, err error) {
	err = os.Rename(r.dataDir(id), r.aside(id))
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		if err := os.RemoveAll(r.aside(id)); err != nil {
			return false, err
		}
		err = os.Rename(r.dataDir(id), r.aside(id))
	}
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Lstat(r.aside(id))
		return err == nil, nil
	}
	if err != nil {
		return false, err
	}
	r.done("delete: set aside")
	return true, syncDir(r.dataRoot())
}

func (r *Repository) aside(id snapline.SnapshotID) string {
	return filepath.Join(r.dataRoot(), deletedPrefix+string(id))
}
