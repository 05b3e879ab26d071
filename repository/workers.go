package repository

import (
	"context"
	"sync"
)

// task is one work whose result is awaited in the order of the tasks.
type task[T any] chan T

// workers run work at low priority, so that it takes no processor from the
// guests. Their work must not wait for anything.
type workers struct {
	ctx  context.Context
	work chan func()
	wg   sync.WaitGroup
}

func startWorkers(ctx context.Context, n int) *workers {
	w := &workers{ctx: ctx, work: make(chan func())}
	for range n {
		w.wg.Go(func() {
			normal := yieldProcessor()
			defer normal()
			for f := range w.work {
				f()
			}
		})
	}
	return w
}

// stop waits for the work that is under way. No more may be given.
func (w *workers) stop() {
	close(w.work)
	w.wg.Wait()
}

// give hands f to a worker; the result comes from the task.
func give[T any](w *workers, f func() T) (task[T], error) {
	t := make(task[T], 1)
	select {
	case w.work <- func() { t <- f() }:
		return t, nil
	case <-w.ctx.Done():
		return nil, context.Cause(w.ctx)
	}
}

// send gives v to a channel unless ctx ends first.
func send[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// receive takes a value unless ctx ends first. ok is false when the channel
// was closed.
func receive[T any](ctx context.Context, c <-chan T) (v T, ok bool, err error) {
	select {
	case v, ok = <-c:
		return v, ok, nil
	case <-ctx.Done():
		return v, false, context.Cause(ctx)
	}
}
