package snapline

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Repository keeps snapshots. A snapshot exists when Commit has returned, and
// not before. Methods may be called from several goroutines and processes, on
// several hosts, that share the same storage.
type Repository interface {
	// ID tells one repository from another; hosts that report different ids do
	// not see the same storage.
	ID() string
	// Free returns how many bytes can still be written.
	Free(ctx context.Context) (int64, error)
	// Put stores one member's captured stream under a snapshot that does not
	// exist yet, durably. An earlier attempt for the same snapshot and member is
	// replaced. After an error nothing of it is left.
	Put(ctx context.Context, id SnapshotID, m MemberName, r io.Reader) (Object, error)
	// Open reads a member's stream back. Reading to io.EOF proves that it is as it
	// was stored: one that was altered since then ends in ErrDamaged instead.
	Open(ctx context.Context, id SnapshotID, m MemberName, o Object) (io.ReadCloser, error)
	// Verify reads the stored bytes and checks them (ErrDamaged), as Open does and
	// against mistakes in storing them, too.
	Verify(ctx context.Context, id SnapshotID, m MemberName, o Object) error
	// PutDisk, OpenDisk and VerifyDisk do for a disk of a member, by the name that
	// its DiskSnapshot gives, what Put, Open and Verify do for its stream. OpenDisk
	// yields what was stored, in order of offsets, as FrozenDisk.Extents does: also
	// zeros, which may hide a backing file. Each iteration reads the storage anew.
	PutDisk(ctx context.Context, id SnapshotID, m MemberName, name string, d DiskContent) (Object, error)
	OpenDisk(ctx context.Context, id SnapshotID, m MemberName, name string, o Object) (iter.Seq2[Extent, error], error)
	VerifyDisk(ctx context.Context, id SnapshotID, m MemberName, name string, o Object) error
	// Commit writes the record: ErrExists when there is one of that id already,
	// ErrGivenUp when there never will be one.
	Commit(ctx context.Context, s Snapshot) error
	// Snapshot reads a record: ErrNotFound when there is none.
	Snapshot(ctx context.Context, id SnapshotID) (Snapshot, error)
	// List returns all records, oldest first. Records that cannot be read are
	// left out and come joined in the error, beside the good ones.
	List(ctx context.Context) ([]Snapshot, error)
	// Delete removes the record first, then the data: ErrNotFound when neither
	// is there. With no record it discards what an aborted round left.
	Delete(ctx context.Context, id SnapshotID) error
	// GiveUp decides that the snapshot will never exist: Put and Commit of it fail
	// with ErrGivenUp from then on, whoever tries, and what was put is removed.
	// Snapshot still returns ErrNotFound. ErrExists when Commit came first: then
	// nothing is removed. It may be called again.
	GiveUp(ctx context.Context, id SnapshotID) error
}

// Cached is a Repository that may keep parts of the storage on its own machine.
type Cached interface {
	// Near says how much of what reading a member's stream and disks back takes is
	// kept here; files below disks do not count. It reads no data from the storage.
	// When ctx ends it returns, without an error, what it has found until then: too
	// little. Of m it needs the names and the objects.
	Near(ctx context.Context, id SnapshotID, m MemberSnapshot) (Nearness, error)
}

// Nearness is how much of something is near: Bytes of the Of bytes that are known
// to be needed. The zero value is what a repository without a cache says, which is
// equally far from everybody.
type Nearness struct {
	Bytes int64 `json:"bytes"`
	Of    int64 `json:"of"`
}

// Errors of a Repository that callers branch on.
var (
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("not found")
	ErrDamaged  = errors.New("damaged")
	ErrGivenUp  = errors.New("its round was given up")
)

// Errors of the control plane that callers branch on.
var (
	ErrNoAnswer = errors.New("no answer")
	ErrConflict = errors.New("written by somebody else meanwhile")
)
