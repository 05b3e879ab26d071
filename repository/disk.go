package repository

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/pagemap"
)

func diskObject(m snapline.MemberName, disk string) string { return string(m) + "." + disk }

func checkDisk(id snapline.SnapshotID, m snapline.MemberName, disk string) error {
	return errors.Join(checkMember(id, m), snapline.CheckName("disk", disk))
}

// PutDisk implements snapline.Repository; pages are shared with all streams and
// disks.
func (r *Repository) PutDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string, d snapline.DiskContent) (snapline.Object, error) {
	o, err := r.putDisk(ctx, id, m, disk, d)
	if err != nil {
		return snapline.Object{}, fmt.Errorf("store disk %s of %s of %s: %w", disk, m, id, r.full(err))
	}
	return o, nil
}

func (r *Repository) putDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string, d snapline.DiskContent) (snapline.Object, error) {
	if err := checkDisk(id, m, disk); err != nil {
		return snapline.Object{}, err
	}
	if d.Size < 0 || d.Size > pagemap.MaxPages*page.Size {
		return snapline.Object{}, fmt.Errorf("a disk of %d bytes", d.Size)
	}
	var base *root
	if d.Base != nil {
		var err error
		if base, err = r.readRoot(ctx, d.Base.Snapshot, diskObject(m, d.Base.Name), d.Base.Object); err != nil {
			return snapline.Object{}, fmt.Errorf("base %s: %w", d.Base.Snapshot, err)
		}
		if base.Kind != kindDisk {
			return snapline.Object{}, fmt.Errorf("base %s is no disk", d.Base.Snapshot)
		}
	}
	rt := &root{
		Format: rootFormat, Kind: kindDisk, Snapshot: id, Object: diskObject(m, disk),
		RawBytes: d.Size, Maps: []pageMap{{Bytes: d.Size}},
	}
	return r.put(ctx, rt, func(in *ingest) error { return in.disk(d, base) })
}

// disk hands a disk's extents to the pipeline.
func (in *ingest) disk(d snapline.DiskContent, base *root) error {
	n, err := in.addMap()
	if err != nil {
		return err
	}
	m := in.maps[n]
	pages := pageMap{Bytes: d.Size}.pages()
	if err := m.Grow(pages); err != nil {
		return err
	}
	if base != nil {
		if err := in.basePages(m, base, d.Size); err != nil {
			return err
		}
	}
	last := make([]byte, page.Size)
	for e, err := range extentsOf(d) {
		if err != nil {
			return err
		}
		if err := in.ctx.Err(); err != nil {
			return context.Cause(in.ctx)
		}
		end := e.Offset + e.Length
		if e.Offset < 0 || e.Length < 0 || end < 0 || end > d.Size || e.Offset%page.Size != 0 ||
			end%page.Size != 0 && end != d.Size || e.Data != nil && int64(len(e.Data)) != e.Length {
			return fmt.Errorf("extent of %d bytes at %d with %d bytes of data, on a disk of %d", e.Length, e.Offset, len(e.Data), d.Size)
		}
		for at := int64(0); at < e.Length; at += page.Size {
			i := (e.Offset + at) / page.Size
			if e.Data == nil {
				err = in.fill(n, i, 0)
			} else if b := e.Data[at:min(at+page.Size, e.Length)]; len(b) == page.Size {
				err = in.page(n, i, b)
			} else { // the disk's end
				clear(last)
				copy(last, b)
				err = in.page(n, i, last)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func extentsOf(d snapline.DiskContent) iter.Seq2[snapline.Extent, error] {
	if d.Extents == nil {
		return func(func(snapline.Extent, error) bool) {}
	}
	return d.Extents
}

// basePages copies the base's map, before anything is in the pipeline.
func (in *ingest) basePages(m *pagemap.Scratch, base *root, size int64) error {
	err := in.r.shared().walkMap(in.ctx, base.Maps[0], func(i int64, id page.ID) error {
		if i >= m.Pages() {
			return nil // the disk has become smaller
		}
		return m.Set(i, id)
	})
	if err != nil {
		return fmt.Errorf("base %s: %w", base.Snapshot, err)
	}
	// Beyond a smaller disk's end a page of the base may still hold its bytes;
	// the part of it that lies behind the size is not read back.
	return nil
}

// OpenDisk implements snapline.Repository. Extents are of some MiB at the most;
// ctx ends the iteration.
func (r *Repository) OpenDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string, o snapline.Object) (iter.Seq2[snapline.Extent, error], error) {
	what := fmt.Sprintf("read disk %s of %s of %s", disk, m, id)
	rt, err := r.openDiskRoot(ctx, id, m, disk, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return func(yield func(snapline.Extent, error) bool) {
		if err := r.extents(ctx, rt, yield); err != nil {
			yield(snapline.Extent{}, fmt.Errorf("%s: %w", what, err))
		}
	}, nil
}

func (r *Repository) openDiskRoot(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string, o snapline.Object) (*root, error) {
	if err := errors.Join(ctx.Err(), checkDisk(id, m, disk)); err != nil {
		return nil, err
	}
	rt, err := r.readRoot(ctx, id, diskObject(m, disk), o)
	if err != nil {
		return nil, err
	}
	if rt.Kind != kindDisk {
		return nil, fmt.Errorf("%w: it is of kind %s", snapline.ErrDamaged, rt.Kind)
	}
	return rt, r.syncIndex(ctx)
}

// extents yields a disk's; nil when the consumer has had enough.
func (r *Repository) extents(ctx context.Context, rt *root, yield func(snapline.Extent, error) bool) error {
	s := newScan(ctx, r.shared(), rt, nil, func(w *window) ([]snapline.Extent, error) { return w.extents(rt.RawBytes) })
	defer s.close()
	for {
		list, ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		for _, e := range list {
			if !yield(e, nil) {
				return nil
			}
		}
	}
}

// extents returns what the disk holds: runs of pages, and of zeros without data.
func (w *window) extents(size int64) (list []snapline.Extent, err error) {
	for first := 0; first < len(w.ids); {
		zero := w.ids[first] == page.Fill(0)
		last := first
		for last < len(w.ids) && (w.ids[last] == page.Fill(0)) == zero {
			last++
		}
		run := *w
		run.first += int64(first)
		run.ids, run.objects = w.ids[first:last], w.objects[first:last]
		first = last
		if at := run.first * page.Size; zero {
			list = append(list, snapline.Extent{Offset: at, Length: min(int64(len(run.ids))*page.Size, size-at)})
			continue
		}
		b, err := run.plain(size)
		if err != nil {
			return nil, err
		}
		list = append(list, snapline.Extent{Offset: run.first * page.Size, Length: int64(len(b)), Data: b})
	}
	return list, nil
}

// VerifyDisk implements snapline.Repository.
func (r *Repository) VerifyDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string, o snapline.Object) error {
	rt, err := r.openDiskRoot(ctx, id, m, disk, o)
	if err == nil {
		err = r.verify(ctx, rt)
	}
	if err != nil {
		return fmt.Errorf("verify disk %s of %s of %s: %w", disk, m, id, err)
	}
	return nil
}
