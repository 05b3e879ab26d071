package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// display shows an operation's steps while it runs. One goroutine calls step
// and at last close; say may come from another, before close.
type display interface {
	step(snapline.Progress)
	say(text string)
	close()
}

func (p printer) display(op snapline.Operation) display {
	if p.terminal {
		return newBars(p.err, op)
	}
	return newLines(p.err)
}

// interrupt is what the first Ctrl-C does. ctx does not end with it.
type interrupt func(ctx context.Context, svc api.Service, op snapline.Operation, say func(string))

// follow shows an operation until it has ended, and returns it, or its error.
// When ctx ends it calls onInterrupt and goes on: the coordinator decides when
// an operation is over.
func follow(ctx context.Context, svc api.Service, p printer, op snapline.Operation, onInterrupt interrupt) (snapline.Operation, error) {
	d := p.display(op)
	calm := context.WithoutCancel(ctx)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		onInterrupt(calm, svc, op, d.say)
	})
	end, err := watch(calm, svc, op, d)
	if !stop() {
		<-told
	}
	d.close()
	if err != nil {
		return end, err
	}
	if end.Error != nil {
		return end, end.Error
	}
	return end, nil
}

// rewatch is the time between two attempts to follow a running operation.
const rewatch = time.Second

// watch shows steps until the operation is no longer running.
func watch(ctx context.Context, svc api.Service, op snapline.Operation, d display) (snapline.Operation, error) {
	var last uint64
	for {
		steps, err := svc.Progress(ctx, op.ID, last)
		if err != nil {
			return op, lost(op, err)
		}
		for p := range steps {
			last = p.ID
			d.step(p)
		}
		now, err := svc.Operation(ctx, op.ID)
		if err != nil {
			return op, lost(op, err)
		}
		if now.State != "running" {
			return now, nil
		}
		// The sequence broke off, and yet the coordinator answers.
		time.Sleep(rewatch)
	}
}

// lost explains that an operation was started and cannot be followed.
func lost(op snapline.Operation, err error) error {
	e := api.AsError(err)
	e.Message = fmt.Sprintf("lost sight of %s %s: %s", op.Kind, op.ID, e.Message)
	e.Hint = fmt.Sprintf("it may be running still: see `snapline status %s` and `snapline list %s`", op.Group, op.Group)
	if op.Group == "" {
		e.Hint = "it may be running still: starting it again tells"
	}
	return e
}
