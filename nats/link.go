package nats

import (
	"context"
	"sync"
)

// link is the life of one connection to the server after the other, each a
// context that ends when that connection does.
type link struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
}

// renew ends the present life and begins the next one.
func (l *link) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
}

// bind returns a context that ends with ctx or with the present life.
func (l *link) bind(ctx context.Context) (bound context.Context, release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bound, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(ErrDisconnected) })
	return bound, func() {
		stop()
		cancel(nil)
	}
}
