package apitest

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/snapline/snapline"
)

// operation is one take or restore. Its fields are under the Fake's mu.
type operation struct {
	op      snapline.Operation
	steps   []snapline.Progress
	changed chan struct{} // closed and replaced with every step
	cancel  context.CancelFunc
}

// start runs work as the group's operation, with mu held.
func (f *Fake) start(g *group, kind string, id snapline.SnapshotID, work func(context.Context, *operation) error) snapline.Operation {
	ctx, cancel := context.WithCancel(f.ctx)
	o := &operation{changed: make(chan struct{}), cancel: cancel, op: snapline.Operation{
		ID: snapline.OperationID(fmt.Sprintf("%s-%d", kind, len(f.ops)+1)), Kind: kind, State: "running",
		Group: g.declared.Name, Snapshot: id, Started: f.opts.Now()}}
	f.ops[o.op.ID] = o
	g.running = o
	f.runs.Add(1)
	started := o.op
	go func() {
		defer f.runs.Done()
		defer cancel()
		err := work(ctx, o)
		f.finish(g, o, err)
	}()
	return started
}

func (f *Fake) finish(g *group, o *operation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g.running = nil
	o.op.State = "done"
	if err != nil {
		o.op.State = "failed"
		o.op.Take, o.op.Restore = nil, nil
		o.op.Error = f.failure(o, err)
	}
	f.append(o, snapline.Progress{Done: true, Text: o.op.State})
}

func (f *Fake) failure(o *operation, err error) *snapline.Error {
	if e, ok := err.(*snapline.Error); ok {
		return e
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
