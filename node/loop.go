package node

import (
	"context"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// loop owns one machine: it hands it events one at a time and passes the
// effects on, in order.
type loop struct {
	clock  Clock
	step   func(protocol.Event) []protocol.Effect
	effect func(protocol.Effect) error // an error stops the rest of the slice
	failed func(protocol.Effect, error) protocol.Input
	trace  func(at snapline.Instant, what any) // may be nil

	mu     sync.Mutex
	queue  []protocol.Input
	wake   chan struct{}
	timers map[*time.Timer]struct{}
	closed bool
}

func newLoop(c Clock) *loop {
	return &loop{clock: c, wake: make(chan struct{}, 1), timers: map[*time.Timer]struct{}{}}
}

// post adds one input; it never blocks. Inputs after close are dropped.
func (l *loop) post(in protocol.Input) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.queue = append(l.queue, in)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// postAt adds one input when the machine's clock will show at.
func (l *loop) postAt(at snapline.Instant, in protocol.Input) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(at.Sub(l.clock.Now()), func() {
		l.mu.Lock()
		delete(l.timers, t)
		l.mu.Unlock()
		l.post(in)
	})
	l.timers[t] = struct{}{}
}

// run steps the machine until ctx ends or until returns true after an event.
func (l *loop) run(ctx context.Context, until func() bool) {
	defer l.close()
	for {
		in, ok := l.next(ctx)
		if !ok {
			return
		}
		l.handle(in)
		if until() {
			return
		}
	}
}

func (l *loop) next(ctx context.Context) (protocol.Input, bool) {
	for {
		l.mu.Lock()
		if len(l.queue) > 0 {
			in := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			return in, true
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, false
		case <-l.wake:
		}
	}
}

func (l *loop) handle(in protocol.Input) {
	at := l.clock.Now()
	l.note(at, in)
	for _, e := range l.step(protocol.Event{At: at, Input: in}) {
		l.note(at, e)
		if err := l.effect(e); err != nil {
			if in := l.failed(e, err); in != nil {
				l.post(in)
			}
			return
		}
	}
}

func (l *loop) note(at snapline.Instant, what any) {
	if l.trace != nil {
		l.trace(at, what)
	}
}

func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.queue = true, nil
	for t := range l.timers {
		t.Stop()
	}
	l.timers = nil
}
