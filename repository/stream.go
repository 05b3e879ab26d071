package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

// Open implements snapline.Repository. A migration stream comes back in order
// of pages, with each page once: it loads into QEMU like the one that was
// stored, but need not have its length. The reader is for one goroutine; ctx
// ends it.
func (r *Repository) Open(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) (io.ReadCloser, error) {
	what := fmt.Sprintf("read %s of %s", m, id)
	rt, err := r.openRoot(ctx, id, m, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s := &stream{what: what}
	if rt.Head != nil {
		s.cur = qevm.AppendHead(nil, rt.Head)
		s.spare = make(chan []byte, r.o.Reads+1)
	}
	s.scan = newScan(ctx, r.shared(), rt, nil, func(w *window) ([]byte, error) { return rt.bytes(w, s.buffer()) })
	return s, nil
}

// openRoot reads a member's root and gets the index ready for it.
func (r *Repository) openRoot(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) (*root, error) {
	if err := errors.Join(ctx.Err(), checkMember(id, m)); err != nil {
		return nil, err
	}
	rt, err := r.readRoot(ctx, id, string(m), o)
	if err != nil {
		return nil, err
	}
	return rt, r.syncIndex(ctx)
}

// bytes returns a window's part of the stream, in buf's space if that is large
// enough.
func (rt *root) bytes(w *window, buf []byte) ([]byte, error) {
	if rt.Head == nil || w.m == len(rt.Head.Blocks) {
		return w.plain(rt.Maps[w.m].Bytes)
	}
	stored := 0
	for _, id := range w.ids {
		if id.Stored() {
			stored++
		}
	}
	room := qevm.Room(stored) + 9*(len(w.ids)-stored)
	part := qevm.NewPart(slices.Grow(buf[:0], room), rt.Head, w.m)
	for i, id := range w.ids {
		index := w.first + int64(i)
		if b, ok := id.FillByte(); ok {
			part.Fill(index, b)
			continue
		}
		if !id.Stored() {
			continue
		}
		b, err := w.page(i)
		if err != nil {
			return nil, err
		}
		copy(part.Page(index), b)
	}
	return part.End(), nil
}

// plain returns a window's bytes, of a map of that length.
func (w *window) plain(length int64) ([]byte, error) {
	out := make([]byte, len(w.ids)*page.Size)
	for i, id := range w.ids {
		at := out[i*page.Size:][:page.Size]
		if id.Stored() {
			b, err := w.page(i)
			if err != nil {
				return nil, err
			}
			copy(at, b)
			continue
		}
		if c, _ := id.FillByte(); c != 0 { // absent is zero
			for k := range at {
				at[k] = c
			}
		}
	}
	return out[:min(int64(len(out)), length-w.first*page.Size)], nil
}

// stream is a member's stream on its way back.
type stream struct {
	what string
	scan *scan[[]byte]
	part []byte // the last that the scan gave
	cur  []byte // what of it was not read yet
	end  error  // what every further Read returns
	// spare are parts that have been read, to be filled again; nil: none are kept.
	spare chan []byte
}

// buffer returns a part to be filled, or nil.
func (s *stream) buffer() []byte {
	select {
	case b := <-s.spare:
		return b
	default:
		return nil
	}
}

func (s *stream) Read(p []byte) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.cur)
	s.cur = s.cur[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: it hands out whole parts, some MiB each, so
// that nobody copies them through a buffer of theirs.
func (s *stream) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if err := s.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return written, err
		}
		n, err := w.Write(s.cur)
		written += int64(n)
		s.cur = s.cur[n:]
		if err != nil {
			return written, err
		}
	}
}

// fill makes the next part current when the last one was read.
func (s *stream) fill() error {
	for len(s.cur) == 0 {
		if s.end != nil {
			return s.end
		}
		select {
		case s.spare <- s.part:
		default:
		}
		b, ok, err := s.scan.next()
		switch {
		case err != nil:
			s.end = fmt.Errorf("%s: %w", s.what, err)
		case !ok:
			s.end = io.EOF
		}
		s.part, s.cur = b, b
	}
	return nil
}

func (s *stream) Close() error {
	s.cur = nil
	if s.end == nil {
		s.end = fs.ErrClosed
	}
	s.scan.close()
	return nil
}

// Verify implements snapline.Repository: it reads, authenticates and unpacks
// everything that Open would, and compares each page with its id.
func (r *Repository) Verify(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) error {
	rt, err := r.openRoot(ctx, id, m, o)
	if err == nil {
		err = r.verify(ctx, rt)
	}
	if err != nil {
		return fmt.Errorf("verify %s of %s: %w", m, id, err)
	}
	return nil
}

func (r *Repository) verify(ctx context.Context, rt *root) error {
	s := newScan(ctx, r.fresh(), rt, nil, func(w *window) (struct{}, error) {
		for i, id := range w.ids {
			if id.Stored() {
				if _, err := w.page(i); err != nil {
					return struct{}{}, err
				}
			}
		}
		return struct{}{}, nil
	})
	defer s.close()
	return s.drain()
}
