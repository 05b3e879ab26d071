package apitest

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/snapline/snapline"
)

// operation is one of a group's, or of the repository's. Its fields are under the Fake's mu.
type operation struct {
	op      snapline.Operation
	steps   []snapline.Progress
	changed chan struct{} // closed and replaced with every step
	cancel  context.CancelFunc
}

// start runs work as an operation, with mu held. running is the place of the one
// that there may be.
func (f *Fake) start(running **operation, op snapline.Operation, work func(context.Context, *operation) error) snapline.Operation {
	ctx, cancel := context.WithCancel(f.ctx)
	op.ID = snapline.OperationID(fmt.Sprintf("%s-%d", op.Kind, len(f.ops)+1))
	op.State, op.Started = "running", f.opts.Now()
	o := &operation{changed: make(chan struct{}), cancel: cancel, op: op}
	f.ops[o.op.ID] = o
	*running = o
	f.runs.Add(1)
	started := o.op
	go func() {
		defer f.runs.Done()
		defer cancel()
		err := work(ctx, o)
		f.finish(running, o, err)
	}()
	return started
}

func (f *Fake) finish(running **operation, o *operation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*running = nil
	o.op.State = "done"
	if err != nil {
		o.op.State = "failed"
		o.op.Take, o.op.Restore, o.op.Prune, o.op.Repair, o.op.Drain = nil, nil, nil, nil, nil
		o.op.Error = f.failure(o, err)
	}
	f.ended(o.op)
	f.append(o, snapline.Progress{Done: true, Text: o.op.State})
}

func (f *Fake) failure(o *operation, err error) *snapline.Error {
	if e, ok := err.(*snapline.Error); ok {
		return e
	}
	if o.op.Kind == "prune" || o.op.Kind == "repair" {
		return &snapline.Error{Code: snapline.CodeCancelled, Message: "the " + o.op.Kind + " was stopped on request; what it had done stays done"}
	}
	return &snapline.Error{Code: snapline.CodeCancelled, Message: fmt.Sprintf("%s of %s was cancelled; every member runs on", o.op.Kind, o.op.Group)}
}

// append is called with mu held.
func (f *Fake) append(o *operation, p snapline.Progress) {
	p.ID, p.At = uint64(len(o.steps)+1), f.opts.Now()
	o.steps = append(o.steps, p)
	close(o.changed)
	o.changed = make(chan struct{})
}

// step tells one step, after the Fake's pace.
func (f *Fake) step(ctx context.Context, o *operation, p snapline.Progress) error {
	if f.opts.Pace > 0 {
		t := time.NewTimer(f.opts.Pace)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.append(o, p)
	return nil
}

// hold waits for Release when the Fake is asked to.
func (f *Fake) hold(ctx context.Context, o *operation) error {
	if !f.opts.Hold {
		return ctx.Err()
	}
	f.held <- o.op.ID
	select {
	case <-f.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Fake) Operation(_ context.Context, id snapline.OperationID) (snapline.Operation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.ops[id]
	if o == nil {
		return snapline.Operation{}, notFound("operation", string(id))
	}
	return o.op, nil
}

func (f *Fake) Cancel(_ context.Context, id snapline.OperationID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.ops[id]
	if o == nil {
		return notFound("operation", string(id))
	}
	o.cancel()
	return nil
}

func (f *Fake) Progress(ctx context.Context, id snapline.OperationID, after uint64) (iter.Seq[snapline.Progress], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.ops[id]
	if o == nil {
		return nil, notFound("operation", string(id))
	}
	return func(yield func(snapline.Progress) bool) {
		for next := after; ; {
			f.mu.Lock()
			steps, changed := o.steps[min(next, uint64(len(o.steps))):], o.changed
			over := o.op.State != "running"
			f.mu.Unlock()
			for _, p := range steps {
				if ctx.Err() != nil || !yield(p) {
					return
				}
				next = p.ID
			}
			if over {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}
