package repository

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// uploads writes packs, several at a time, and the index of them.
type uploads struct {
	in      *ingest
	claims  claims
	buffers chan []byte // as many as packs may be in memory
	// write stores an index blob of packs.
	write func(context.Context, []pack.Contents) (int64, error)
	wg    sync.WaitGroup

	mu      sync.Mutex
	written []pack.Contents // and not indexed yet
	objects int             // in them
	added   int64           // bytes written
}

// indexObjects is how many objects one index blob tells of, about: 4 MiB of
// ids. So many claims are in memory at the most, beside those of the packs
// being written.
const indexObjects = 256 << 10

// packObjects bounds a pack that compresses very well.
const packObjects = 64 << 10

func newUploads(in *ingest) *uploads {
	u := &uploads{in: in, write: in.r.writeIndex, buffers: make(chan []byte, in.r.o.Uploads+1)}
	u.claims.m = map[page.ID]struct{}{}
	for range cap(u.buffers) {
		u.buffers <- nil
	}
	return u
}

// pack seals frames into packs and has them uploaded.
func (in *ingest) pack() error {
	var w *pack.Writer
	objects := 0
	for {
		f, ok, err := in.nextFrame()
		if err != nil {
			return err
		}
		if ok {
			if w == nil {
				buf, _, err := receive(in.ctx, in.up.buffers)
				if err != nil {
					return err
				}
				w, objects = pack.NewWriter(in.r.master, buf), 0
			}
			w.Add(f.kind, f.ids, f.packed)
			objects += len(f.ids)
			f.ids = nil
			in.r.frameBuffers.Put(f)
		}
		if w != nil && (!ok || w.Full() || objects >= packObjects) {
			b, c := w.Finish()
			w = nil
			in.up.wg.Go(func() { in.note(in.up.upload(b, c)) })
		}
		if !ok {
			return nil
		}
	}
}

func (in *ingest) nextFrame() (*framed, bool, error) {
	t, ok, err := receive(in.ctx, in.frames)
	if err != nil || !ok {
		return nil, false, err
	}
	f, _, err := receive(in.ctx, t)
	return f, err == nil, err
}

// upload writes one pack.
func (u *uploads) upload(b []byte, c pack.Contents) error {
	if err := u.in.r.store.Put(u.in.ctx, packName(c.ID), int64(len(b)), bytes.NewReader(b)); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	u.in.r.packs.put(c.ID, b)
	u.buffers <- b // there is room: it came from there
	u.mu.Lock()
	u.written = append(u.written, c)
	u.objects += c.Objects()
	u.added += c.Size
	u.mu.Unlock()
	return u.index(u.in.ctx, indexObjects)
}

// index writes an index of the packs written so far, if they hold at least
// that many objects.
func (u *uploads) index(ctx context.Context, atLeast int) error {
	u.mu.Lock()
	if u.objects < atLeast {
		u.mu.Unlock()
		return nil
	}
	packs := u.written
	u.written, u.objects = nil, 0
	u.mu.Unlock()
	n, err := u.write(ctx, packs)
	if err != nil {
		return err
	}
	u.claims.release(packs)
	u.mu.Lock()
	u.added += n
	u.mu.Unlock()
	return nil
}

func (u *uploads) wait() { u.wg.Wait() }

// writeIndex stores an index blob of packs, and makes our own index know it.
func (r *Repository) writeIndex(ctx context.Context, packs []pack.Contents) (size int64, err error) {
	src, size, err := r.storeIndex(ctx, packs)
	if err != nil {
		return 0, err
	}
	return size, r.index.Add(src, packs)
}

// storeIndex stores an index blob.
func (r *Repository) storeIndex(ctx context.Context, packs []pack.Contents) (index.Source, int64, error) {
	src := index.Source(seal.NewSalt())
	b := pack.SealIndex(r.master, indexName(src), packs)
	if err := r.store.Put(ctx, indexName(src), int64(len(b)), bytes.NewReader(b)); err != nil {
		return src, 0, fmt.Errorf("write index: %w", err)
	}
	return src, int64(len(b)), nil
}

func (r *Repository) fetchIndex(ctx context.Context, src index.Source) ([]pack.Contents, error) {
	name := indexName(src)
	b, err := readBlob(ctx, r.store, name)
	if err != nil {
		return nil, err
	}
	packs, err := pack.OpenIndex(r.master, name, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; make it anew with: snapline repo repair", name, damaged(err))
	}
	return packs, nil
}
