package repotest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/snapline/snapline"
)

func diskObject(m snapline.MemberName, name string) string { return string(m) + "." + name }

// PutDisk implements snapline.Repository.
func (r *Memory) PutDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, d snapline.DiskContent) (snapline.Object, error) {
	var none snapline.Object
	if err := errors.Join(check(ctx, id, m), snapline.CheckName("disk", name)); err != nil {
		return none, err
	}
	b := make([]byte, d.Size)
	if d.Base != nil {
		base, err := r.verified(ctx, d.Base.Snapshot, m, diskObject(m, d.Base.Name), d.Base.Object)
		if err != nil {
			return none, err
		}
		copy(b, base)
	}
	if d.Extents != nil {
		for e, err := range d.Extents {
			if err != nil {
				return none, fmt.Errorf("store disk %s of %s of %s: %w", name, m, id, err)
			}
			if end := e.Offset + e.Length; e.Offset < 0 || e.Offset%snapline.PageSize != 0 || e.Length < 0 || end > d.Size ||
				end%snapline.PageSize != 0 && end != d.Size || e.Data != nil && int64(len(e.Data)) != e.Length {
				return none, fmt.Errorf("store disk %s of %s of %s: extent of %d bytes at %d", name, m, id, e.Length, e.Offset)
			}
			clear(b[e.Offset:][:e.Length])
			copy(b[e.Offset:], e.Data)
		}
	}
	return r.put(id, diskObject(m, name), b)
}

// OpenDisk implements snapline.Repository.
func (r *Memory) OpenDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) (iter.Seq2[snapline.Extent, error], error) {
	b, err := r.verified(ctx, id, m, diskObject(m, name), o)
	if err != nil {
		return nil, err
	}
	return func(yield func(snapline.Extent, error) bool) {
		for at := int64(0); at < int64(len(b)); at += snapline.PageSize {
			page := b[at:min(at+snapline.PageSize, int64(len(b)))]
			if !zero(page) && !yield(snapline.Extent{Offset: at, Length: int64(len(page)), Data: page}, nil) {
				return
			}
		}
	}, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// VerifyDisk implements snapline.Repository.
func (r *Memory) VerifyDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) error {
	_, err := r.verified(ctx, id, m, diskObject(m, name), o)
	return err
}
