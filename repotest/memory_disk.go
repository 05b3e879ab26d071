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
	written := make([]bool, (d.Size+snapline.PageSize-1)/snapline.PageSize)
	if d.Base != nil {
		base, err := r.verified(ctx, d.Base.Snapshot, m, diskObject(m, d.Base.Name), d.Base.Object)
		if err != nil {
			return none, err
		}
		copy(b, base)
		copy(written, r.writtenPages(d.Base.Snapshot, diskObject(m, d.Base.Name)))
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
			for at := e.Offset; at < e.Offset+e.Length; at += snapline.PageSize {
				written[at/snapline.PageSize] = true
			}
		}
	}
	o, err := r.put(id, diskObject(m, name), b)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.written[string(id)+"/"+diskObject(m, name)] = written
	}
	return o, err
}

// writtenPages says which pages of a disk were stored, zeros or not.
func (r *Memory) writtenPages(id snapline.SnapshotID, object string) []bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written[string(id)+"/"+object]
}

// OpenDisk implements snapline.Repository.
func (r *Memory) OpenDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) (iter.Seq2[snapline.Extent, error], error) {
	b, err := r.verified(ctx, id, m, diskObject(m, name), o)
	if err != nil {
		return nil, err
	}
	written := r.writtenPages(id, diskObject(m, name))
	return func(yield func(snapline.Extent, error) bool) {
		for at := int64(0); at < int64(len(b)); at += snapline.PageSize {
			page := b[at:min(at+snapline.PageSize, int64(len(b)))]
			if written[at/snapline.PageSize] && !yield(snapline.Extent{Offset: at, Length: int64(len(page)), Data: page}, nil) {
				return
			}
		}
	}, nil
}

// VerifyDisk implements snapline.Repository.
func (r *Memory) VerifyDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) error {
	_, err := r.verified(ctx, id, m, diskObject(m, name), o)
	return err
}
