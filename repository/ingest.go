package repository

import (
	"context"
	"fmt"
	"sync"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/pagemap"
)

// ingest stores the pages of one stream:
//
//	caller ─ batches ─► hash ─► dedupe ─ frames ─► compress ─► pack ─► upload
//
// Hashing and compression run on the workers, the others in a goroutine each;
// order is kept, so that what is read together lies together. The first error
// anywhere ends all of it.
type ingest struct {
	r    *Repository
	ctx  context.Context
	fail context.CancelCauseFunc
	wg   sync.WaitGroup
	w    *workers

	batch   *batch             // being filled by the caller
	hashed  chan task[*batch]  // in order
	packer  *packer            // the dedupe goroutine's, until flush
	frames  chan task[*framed] // in order
	deduped chan struct{}      // closed when the packer is the caller's
	up      *uploads
	maps    []*pagemap.Scratch
}

func (r *Repository) newIngest(ctx context.Context) *ingest {
	in := &ingest{r: r, deduped: make(chan struct{})}
	in.ctx, in.fail = context.WithCancelCause(ctx)
	in.w = startWorkers(in.ctx, r.o.Workers)
	in.hashed = make(chan task[*batch], r.o.Workers)
	in.frames = make(chan task[*framed], 2*r.o.Workers)
	in.up = newUploads(in)
	in.packer = newPacker(in)
	in.wg.Go(func() { // dedupe
		defer close(in.deduped)
		in.note(in.dedupe())
	})
	in.wg.Go(func() { in.note(in.pack()) })
	return in
}

// note ends everything at the first error.
func (in *ingest) note(err error) {
	if err != nil {
		in.fail(err)
	}
}

// addMap begins a page map; pages may be said in any order.
func (in *ingest) addMap() (int, error) {
	m, err := pagemap.NewScratch(in.r.cache.path)
	if err != nil {
		return 0, fmt.Errorf("page map: %w", err)
	}
	in.maps = append(in.maps, m)
	return len(in.maps) - 1, nil
}

// batch is some pages on their way.
type batch struct {
	items []item
	data  []byte // of those items that have any, in order
	maps  []*pagemap.Scratch
}

// item says what a page of a map is. One with data gets its id from a worker.
type item struct {
	m     int
	index int64
	id    page.ID
	data  bool
}

// Limits of a batch: 1 MiB of data, or as many fills as fit in a cache.
const (
	batchPages = 256
	batchItems = 4096
)

// page stores a page of a map. The bytes are copied.
func (in *ingest) page(m int, index int64, data []byte) error {
	b := in.current()
	b.items = append(b.items, item{m: m, index: index, data: true})
	b.data = append(b.data, data...)
	return in.flushIf(len(b.data) >= batchPages*page.Size || len(b.items) >= batchItems)
}

// fill says that a page of a map is full of one byte.
func (in *ingest) fill(m int, index int64, c byte) error {
	b := in.current()
	b.items = append(b.items, item{m: m, index: index, id: page.Fill(c)})
	return in.flushIf(len(b.items) >= batchItems)
}

func (in *ingest) current() *batch {
	if in.batch == nil {
		in.batch, _ = in.r.batches.Get().(*batch)
		if in.batch == nil {
			in.batch = &batch{data: make([]byte, 0, batchPages*page.Size)}
		}
		in.batch.items, in.batch.data = in.batch.items[:0], in.batch.data[:0]
	}
	return in.batch
}

func (in *ingest) flushIf(full bool) error {
	if !full {
		return nil
	}
	b := in.batch
	in.batch = nil
	b.maps = in.maps // those that exist by now
	t, err := give(in.w, func() *batch { return in.hash(b) })
	if err != nil {
		return err
	}
	return send(in.ctx, in.hashed, t)
}

// hash gives the items that have data their ids.
func (in *ingest) hash(b *batch) *batch {
	h := in.r.hasher(pack.Pages)
	at := 0
	for i := range b.items {
		it := &b.items[i]
		if !it.data {
			continue
		}
		data := b.data[at:][:page.Size]
		at += page.Size
		var uniform bool
		if it.id, uniform = page.FillOf(data); !uniform {
			it.id = h.Sum(data)
		}
	}
	return b
}

// dedupe fills the maps and hands new pages to the packer.
func (in *ingest) dedupe() error {
	for {
		t, ok, err := receive(in.ctx, in.hashed)
		if err != nil || !ok {
			return err
		}
		b, _, err := receive(in.ctx, t)
		if err != nil {
			return err
		}
		if err := in.packer.batch(b); err != nil {
			return err
		}
		in.r.batches.Put(b)
	}
}

// trees ends the stream of pages and stores the page maps; it returns their
// roots.
func (in *ingest) trees() ([]page.ID, error) {
	if err := in.flushIf(in.batch != nil); err != nil {
		return nil, err
	}
	close(in.hashed)
	<-in.deduped
	if err := context.Cause(in.ctx); err != nil {
		return nil, err
	}
	roots := make([]page.ID, len(in.maps))
	for i, m := range in.maps {
		var err error
		if roots[i], err = pagemap.Build(m.Pages(), m.At, in.packer.node); err != nil {
			return nil, err
		}
	}
	return roots, in.packer.flush()
}

// finish waits until everything is stored, and says how many bytes that were.
func (in *ingest) finish() (added int64, err error) {
	close(in.frames)
	in.wg.Wait()
	in.up.wait()
	if err := context.Cause(in.ctx); err != nil {
		return 0, err
	}
	if err := in.up.index(in.ctx, 1); err != nil {
		return 0, err
	}
	return in.up.added, nil
}

// close ends whatever is still under way, and forgets the maps.
func (in *ingest) close() {
	in.fail(context.Canceled)
	in.wg.Wait()
	in.up.wait()
	in.w.stop()
	for _, m := range in.maps {
		_ = m.Close() // there was never a name to it
	}
}
