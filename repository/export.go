package repository

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

// Blocks lists a member's RAM blocks. A member whose stream was no migration
// stream has none.
func (r *Repository) Blocks(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) ([]qevm.Block, error) {
	if err := checkMember(id, m); err != nil {
		return nil, err
	}
	rt, err := r.readRoot(ctx, id, string(m), o)
	if err != nil {
		return nil, fmt.Errorf("RAM of %s of %s: %w", m, id, err)
	}
	if rt.Head == nil {
		return nil, nil
	}
	return rt.Head.Blocks, nil
}

// ExportRAM writes a member's main memory, its largest RAM block, to w and
// returns its length in bytes. Pages of zeros are not written: w must be empty,
// like a new file, which stays sparse and must be given its length. Offsets are
// those of the block: above 2 or 3 GiB (depending on the machine type) the
// guest's physical addresses lie higher, behind the PCI hole. w is written to
// from several goroutines.
func (r *Repository) ExportRAM(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object, w io.WriterAt) (int64, error) {
	n, err := r.exportRAM(ctx, id, m, o, w)
	if err != nil {
		return 0, fmt.Errorf("export RAM of %s of %s: %w", m, id, err)
	}
	return n, nil
}

func (r *Repository) exportRAM(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object, w io.WriterAt) (int64, error) {
	rt, err := r.openRoot(ctx, id, m, o)
	if err != nil {
		return 0, err
	}
	if rt.Head == nil || len(rt.Head.Blocks) == 0 {
		return 0, fmt.Errorf("it was stored as plain bytes; export the stream instead")
	}
	main := 0
	for i, b := range rt.Head.Blocks {
		if b.Bytes > rt.Head.Blocks[main].Bytes {
			main = i
		}
	}
	s := newScan(ctx, r.shared(), rt, func(m int) bool { return m != main }, func(win *window) (struct{}, error) {
		return struct{}{}, win.writeTo(w, rt.Maps[main].Bytes)
	})
	defer s.close()
	return rt.Maps[main].Bytes, s.drain()
}

// writeTo writes what is not zero to its place.
func (w *window) writeTo(out io.WriterAt, length int64) error {
	for run := range w.runs() {
		b, err := run.plain(length)
		if err != nil {
			return err
		}
		if _, err := out.WriteAt(b, run.first*page.Size); err != nil {
			return err
		}
	}
	return nil
}

// runs are the window's parts without pages of zeros.
func (w *window) runs() iter.Seq[*window] {
	return func(yield func(*window) bool) {
		for first := 0; first < len(w.ids); first++ {
			last := first
			for last < len(w.ids) && w.ids[last] != page.Fill(0) {
				last++
			}
			if last == first {
				continue
			}
			run := *w
			run.first += int64(first)
			run.ids, run.objects = w.ids[first:last], w.objects[first:last]
			if !yield(&run) {
				return
			}
			first = last
		}
	}
}
