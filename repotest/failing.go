package repotest

import (
	"context"
	"io"
	"iter"

	"github.com/snapline/snapline"
)

var _ snapline.Repository = Failing{}

// Op names a method of snapline.Repository.
type Op string

// The operations that can fail.
const (
	OpFree     Op = "free"
	OpPut      Op = "put"    // a stream or a disk
	OpOpen     Op = "open"   // a stream or a disk
	OpVerify   Op = "verify" // a stream or a disk
	OpCommit   Op = "commit"
	OpSnapshot Op = "snapshot"
	OpList     Op = "list"
	OpDelete   Op = "delete"
	OpGiveUp   Op = "give up"
)

// Failing is a Repository whose operations fail when Fail says so, before they
// have done anything. It is as safe for several goroutines as Fail is.
type Failing struct {
	snapline.Repository
	// Fail is asked before each operation; id is empty for OpFree and OpList. It
	// may also block, or note what was asked for.
	Fail func(op Op, id snapline.SnapshotID) error
}

// Free implements snapline.Repository.
func (f Failing) Free(ctx context.Context) (int64, error) {
	if err := f.Fail(OpFree, ""); err != nil {
		return 0, err
	}
	return f.Repository.Free(ctx)
}

// Put implements snapline.Repository.
func (f Failing) Put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, r io.Reader) (snapline.Object, error) {
	if err := f.Fail(OpPut, id); err != nil {
		return snapline.Object{}, err
	}
	return f.Repository.Put(ctx, id, m, r)
}

// Open implements snapline.Repository.
func (f Failing) Open(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) (io.ReadCloser, error) {
	if err := f.Fail(OpOpen, id); err != nil {
		return nil, err
	}
	return f.Repository.Open(ctx, id, m, o)
}

// Verify implements snapline.Repository.
func (f Failing) Verify(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) error {
	if err := f.Fail(OpVerify, id); err != nil {
		return err
	}
	return f.Repository.Verify(ctx, id, m, o)
}

// PutDisk implements snapline.Repository.
func (f Failing) PutDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, d snapline.DiskContent) (snapline.Object, error) {
	if err := f.Fail(OpPut, id); err != nil {
		return snapline.Object{}, err
	}
	return f.Repository.PutDisk(ctx, id, m, name, d)
}

// OpenDisk implements snapline.Repository.
func (f Failing) OpenDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) (iter.Seq2[snapline.Extent, error], error) {
	if err := f.Fail(OpOpen, id); err != nil {
		return nil, err
	}
	return f.Repository.OpenDisk(ctx, id, m, name, o)
}

// VerifyDisk implements snapline.Repository.
func (f Failing) VerifyDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) error {
	if err := f.Fail(OpVerify, id); err != nil {
		return err
	}
	return f.Repository.VerifyDisk(ctx, id, m, name, o)
}

// Commit implements snapline.Repository.
func (f Failing) Commit(ctx context.Context, s snapline.Snapshot) error {
	if err := f.Fail(OpCommit, s.ID); err != nil {
		return err
	}
	return f.Repository.Commit(ctx, s)
}

// Snapshot implements snapline.Repository.
func (f Failing) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	if err := f.Fail(OpSnapshot, id); err != nil {
		return snapline.Snapshot{}, err
	}
	return f.Repository.Snapshot(ctx, id)
}

// List implements snapline.Repository.
func (f Failing) List(ctx context.Context) ([]snapline.Snapshot, error) {
	if err := f.Fail(OpList, ""); err != nil {
		return nil, err
	}
	return f.Repository.List(ctx)
}

// Delete implements snapline.Repository.
func (f Failing) Delete(ctx context.Context, id snapline.SnapshotID) error {
	if err := f.Fail(OpDelete, id); err != nil {
		return err
	}
	return f.Repository.Delete(ctx, id)
}

// GiveUp implements snapline.Repository.
func (f Failing) GiveUp(ctx context.Context, id snapline.SnapshotID) error {
	if err := f.Fail(OpGiveUp, id); err != nil {
		return err
	}
	return f.Repository.GiveUp(ctx, id)
}
