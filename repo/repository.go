package repo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

var _ snapline.Repository = (*Repository)(nil)

// Repository is a snapline.Repository in a directory.
type Repository struct {
	dir string
	id  string
	// step, in tests, hears each step on disk when it is done.
	step func(name string)
}

// ID implements snapline.Repository.
func (r *Repository) ID() string { return r.id }

// Free implements snapline.Repository: what a user without privileges can still
// write on the file system.
func (r *Repository) Free(context.Context) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		return 0, fmt.Errorf("repository %s: free space: %w", r.dir, err)
	}
	return int64(st.Bavail) * st.Frsize, nil // as statvfs(3) counts
}

func (r *Repository) dataRoot() string   { return filepath.Join(r.dir, dataName) }
func (r *Repository) recordRoot() string { return filepath.Join(r.dir, recordName) }

func (r *Repository) dataDir(id snapline.SnapshotID) string {
	return filepath.Join(r.dataRoot(), string(id))
}

func (r *Repository) dataFile(id snapline.SnapshotID, m snapline.MemberName) string {
	return filepath.Join(r.dataDir(id), string(m)+dataSuffix)
}

func (r *Repository) recordFile(id snapline.SnapshotID) string {
	return filepath.Join(r.recordRoot(), string(id)+recordSuffix)
}

const (
	dataName     = "data"
	dataSuffix   = ".zst"
	recordName   = "snapshots"
	recordSuffix = ".json"
)

// checkID and checkMember stand before every path that is made of a name.
func checkID(id snapline.SnapshotID) error {
	_, _, err := id.Split()
	return err
}

func checkMember(id snapline.SnapshotID, m snapline.MemberName) error {
	if err := checkID(id); err != nil {
		return err
	}
	return snapline.CheckName("member", string(m))
}

// full tells an operator what to do about a file system without space.
func (r *Repository) full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("repository %s is full; delete snapshots or give it more space: %w", r.dir, err)
	}
	return err
}

func (r *Repository) done(step string) {
	if r.step != nil {
		r.step(step)
	}
}
