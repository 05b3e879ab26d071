package repository

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

// Put implements snapline.Repository. A QEMU migration stream is taken apart;
// anything else is stored as it is, in pages. The work is done at low
// priority, so that it takes no processor from the guests. ctx is looked at
// between two reads.
//
// The pages are not protected from Prune before Commit: whoever prunes must
// know that no snapshot is being written.
func (r *Repository) Put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	o, err := r.putStream(ctx, id, m, in)
	if err != nil {
		return snapline.Object{}, fmt.Errorf("store %s of %s: %w", m, id, r.full(err))
	}
	return o, nil
}

func (r *Repository) putStream(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	if err := checkMember(id, m); err != nil {
		return snapline.Object{}, err
	}
	rt := &root{Format: rootFormat, Snapshot: id, Object: string(m)}
	o, err := r.put(ctx, rt, func(g *ingest) error { return takeApart(g, rt, in) })
	if !errors.Is(err, qevm.ErrUnsupported) {
		return o, err
	}
	// A snapshot that takes more space is better than none.
	again, ok := in.(io.Seeker)
	if !ok {
		return o, err
	}
	if _, seekErr := again.Seek(0, io.SeekStart); seekErr != nil {
		return o, errors.Join(err, seekErr)
	}
	rt = &root{Format: rootFormat, Snapshot: id, Object: string(m)}
	return r.put(ctx, rt, func(g *ingest) error { return storeRaw(g, rt, &contextReader{g.ctx, in}) })
}

// put stores what fill hands to the ingest, then the root.
func (r *Repository) put(ctx context.Context, rt *root, fill func(*ingest) error) (snapline.Object, error) {
	var none snapline.Object
	if err := send(ctx, r.puts, struct{}{}); err != nil {
		return none, err
	}
	defer func() { <-r.puts }()
	if err := r.absent(ctx, rt.Snapshot); err != nil {
		return none, err
	}
	if err := r.trustIndex(ctx); err != nil {
		return none, err
	}
	if err := r.ingest(ctx, rt, fill); err != nil {
		return none, err
	}
	if err := r.absent(ctx, rt.Snapshot); err != nil {
		return none, err // again: the stream took its time
	}
	return r.writeRoot(ctx, rt)
}

func (r *Repository) ingest(ctx context.Context, rt *root, fill func(*ingest) error) error {
	normal := yieldProcessor()
	defer normal()
	g := r.newIngest(ctx)
	defer g.close()
	err := fill(g)
	if err == nil {
		var roots []page.ID
		roots, err = g.trees()
		for i, id := range roots {
			rt.Maps[i].Root = id
		}
	}
	if err == nil {
		rt.AddedBytes, err = g.finish()
	}
	if cause := context.Cause(g.ctx); cause != nil {
		return cause // what came first; others follow from it
	}
	return err
}

// takeApart stores a stream by its kind.
func takeApart(g *ingest, rt *root, in io.Reader) error {
	b := bufio.NewReader(&contextReader{g.ctx, in})
	start, err := b.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !qevm.Is(start) {
		return storeRaw(g, rt, b)
	}
	rt.Kind = kindQEVM
	rt.RawBytes, err = qevm.Parse(b, &sink{g: g, rt: rt})
	return err
}

// storeRaw stores a stream as one map.
func storeRaw(g *ingest, rt *root, in io.Reader) error {
	rt.Kind = kindRaw
	n, err := g.bytes(in)
	rt.RawBytes = n
	rt.Maps = append(rt.Maps, pageMap{Bytes: n})
	return err
}

// bytes stores a stream of bytes as a map of its own.
func (in *ingest) bytes(r io.Reader) (n int64, err error) {
	m, err := in.addMap()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, page.Size)
	for {
		k, err := fillBuffer(r, buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if k > 0 {
			clear(buf[k:])
			if err := in.page(m, n/page.Size, buf); err != nil {
				return n, err
			}
			n += int64(k)
		}
		if err != nil {
			return n, nil
		}
	}
}

// fillBuffer is io.ReadFull that tells a stream's end from a reader that was
// cut off: io.EOF comes with the last bytes, or none.
func fillBuffer(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}

// sink stores the parts of a migration stream.
type sink struct {
	g  *ingest
	rt *root
}

var _ qevm.Sink = (*sink)(nil)

func (s *sink) Head(h qevm.Head) error {
	s.rt.Head = &h
	for _, b := range h.Blocks {
		m, err := s.g.addMap()
		if err == nil {
			err = s.g.maps[m].Grow(b.Pages())
		}
		if err != nil {
			return err
		}
		s.rt.Maps = append(s.rt.Maps, pageMap{Bytes: b.Bytes})
	}
	return nil
}

func (s *sink) Page(block int, index int64, data []byte) error { return s.g.page(block, index, data) }

func (s *sink) Fill(block int, index int64, b byte) error { return s.g.fill(block, index, b) }

func (s *sink) Epilogue(r io.Reader) error {
	n, err := s.g.bytes(r)
	s.rt.Maps = append(s.rt.Maps, pageMap{Bytes: n})
	return err
}

// contextReader ends a stream when its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
