package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/pagemap"
)

// window is some consecutive pages of one map that are fetched together.
type window struct {
	m     int   // the map's number
	first int64 // the first page's index
	ids   []page.ID

	objects []located
	hasher  *page.Hasher // nil: the seal is enough
}

// Limits of a window: 4 MiB of stored pages, or as many others.
const (
	windowStored = 1024
	windowPages  = 32 << 10
)

// page returns the content of a stored page, checked against its id if there is
// a hasher, or what is wrong with it.
func (w *window) page(i int) ([]byte, error) {
	at := w.objects[i]
	b := at.frame[at.slot*page.Size:][:page.Size]
	if w.hasher != nil && w.hasher.Sum(b) != w.ids[i] {
		return nil, fmt.Errorf("%w: page %d is not page %s", snapline.ErrDamaged, w.first+int64(i), w.ids[i])
	}
	return b, nil
}

// scan goes through a root's maps in order: use is called for every window, in
// several goroutines; what it returns, which must not refer to the window's
// objects, comes out in order.
type scan[T any] struct {
	source
	ctx  context.Context
	fail context.CancelCauseFunc
	wg   sync.WaitGroup
	rt   *root
	out  chan task[result[T]]
	use  func(*window) (T, error)
}

// result is what became of a window. The first window that fails is the one
// that is reported, not the first to find out.
type result[T any] struct {
	v   T
	err error
}

// newScan starts a scan. Maps for which skip says so are left out; skip may be
// nil.
func newScan[T any](ctx context.Context, from source, rt *root, skip func(m int) bool, use func(*window) (T, error)) *scan[T] {
	s := &scan[T]{source: from, rt: rt, use: use, out: make(chan task[result[T]], from.r.o.Reads)}
	s.ctx, s.fail = context.WithCancelCause(ctx)
	jobs := make(chan func())
	for range from.r.o.Reads {
		s.wg.Go(func() {
			for f := range jobs {
				f()
			}
		})
	}
	s.wg.Go(func() {
		defer close(s.out)
		defer close(jobs)
		for m := range rt.Maps {
			if skip != nil && skip(m) {
				continue
			}
			if err := s.walk(m, jobs); err != nil {
				t := make(task[result[T]], 1)
				t <- result[T]{err: err}
				_ = send(s.ctx, s.out, t) // or the consumer has gone
				return
			}
		}
	})
	return s
}

// next returns the next window's result; false at the end.
func (s *scan[T]) next() (v T, ok bool, err error) {
	t, ok, err := receive(s.ctx, s.out)
	if err != nil {
		return v, false, err
	}
	if !ok {
		return v, false, context.Cause(s.ctx)
	}
	got, _, err := receive(s.ctx, t)
	if err == nil {
		err = got.err
	}
	return got.v, err == nil, err
}

// drain goes through to the end.
func (s *scan[T]) drain() error {
	for {
		if _, ok, err := s.next(); err != nil || !ok {
			return err
		}
	}
}

// close ends the scan; nothing of it runs afterwards.
func (s *scan[T]) close() {
	s.fail(context.Canceled)
	s.wg.Wait()
}

// walk cuts a map into windows.
func (s *scan[T]) walk(m int, jobs chan<- func()) error {
	w := &window{m: m}
	stored := 0
	err := s.walkMap(s.ctx, s.rt.Maps[m], func(i int64, id page.ID) error {
		if len(w.ids) > 0 && i != w.first+int64(len(w.ids)) || stored == windowStored || len(w.ids) == windowPages {
			full := w
			w, stored = &window{m: m}, 0
			if err := s.give(full, jobs); err != nil {
				return err
			}
		}
		if len(w.ids) == 0 {
			w.first = i
		}
		w.ids = append(w.ids, id)
		if id.Stored() {
			stored++
		}
		return nil
	})
	if err != nil {
		return s.rt.partError(m, err)
	}
	if len(w.ids) > 0 {
		return s.give(w, jobs)
	}
	return nil
}

// walkMap tells of every page of a map that is not absent, in order.
func (s source) walkMap(ctx context.Context, pm pageMap, each func(i int64, id page.ID) error) error {
	nodes := fetch{s, pack.Nodes}
	h := s.r.hasher(pack.Nodes)
	return pagemap.Walker{
		Load: func(id page.ID) ([]byte, error) { return nodes.node(ctx, h, id) },
		Leaf: func(first int64, ids []page.ID) error {
			for k, id := range ids {
				if id == page.Absent {
					continue
				}
				if err := each(first+int64(k), id); err != nil {
					return err
				}
			}
			return nil
		},
		Uniform: func(first, n int64, id page.ID) error {
			if id == page.Absent {
				return nil
			}
			for i := range n {
				if err := each(first+i, id); err != nil {
					return err
				}
			}
			return nil
		},
	}.Walk(pm.Root, pm.pages())
}

// node returns a node of a page map.
func (f fetch) node(ctx context.Context, h page.Hasher, id page.ID) ([]byte, error) {
	got, err := f.objects(ctx, []page.ID{id})
	if err != nil {
		return nil, err
	}
	defer got.release()
	at := got.at[0]
	b := bytes.Clone(at.frame[at.slot*pack.NodeSize:][:pack.NodeSize])
	if h.Sum(b) != id {
		return nil, fmt.Errorf("%w: it is not node %s", snapline.ErrDamaged, id)
	}
	return b, nil
}

// give has a window fetched and used.
func (s *scan[T]) give(w *window, jobs chan<- func()) error {
	t := make(task[result[T]], 1)
	job := func() {
		v, err := s.load(w)
		t <- result[T]{v, err}
	}
	if err := send(s.ctx, jobs, job); err != nil {
		return err
	}
	return send(s.ctx, s.out, t)
}

func (s *scan[T]) load(w *window) (v T, err error) {
	if s.ctx.Err() != nil {
		return v, context.Cause(s.ctx)
	}
	got, err := (fetch{s.source, pack.Pages}).objects(s.ctx, w.ids)
	if err != nil {
		if errors.Is(err, snapline.ErrDamaged) {
			err = s.locate(w, err)
		}
		return v, s.rt.partError(w.m, err)
	}
	defer got.release()
	w.objects = got.at
	if s.hash {
		h := s.r.hasher(pack.Pages)
		w.hasher = &h
	}
	if v, err = s.use(w); err != nil {
		return v, s.rt.partError(w.m, err)
	}
	return v, nil
}

// locate finds out which pages of a window are lost: one by one, as most
// windows are sound.
func (s *scan[T]) locate(w *window, err error) error {
	from, to := int64(-1), int64(-1)
	for i, id := range w.ids {
		got, err := (fetch{s.source, pack.Pages}).objects(s.ctx, []page.ID{id})
		if err == nil {
			got.release()
		} else if s.ctx.Err() == nil {
			if from < 0 {
				from = w.first + int64(i)
			}
			to = w.first + int64(i)
		}
	}
	if from < 0 {
		return err
	}
	return fmt.Errorf("pages %d to %d: %w", from, to, err)
}
