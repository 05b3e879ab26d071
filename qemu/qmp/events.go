package qmp

import (
	"context"
	"sync"
)

// Events is an ordered, lossless queue of the events that arrived since
// Subscribe. One goroutine at a time may call Next.
type Events struct {
	client *Client

	mu     sync.Mutex
	queue  []Event
	closed bool
	wake   chan struct{} // holds at most one token
}

// Subscribe starts a queue of events. Close it, or it grows until the client is
// closed.
func (c *Client) Subscribe() *Events {
	e := &Events{client: c, wake: make(chan struct{}, 1)}
	c.mu.Lock()
	c.subscribers[e] = struct{}{}
	c.mu.Unlock()
	return e
}

// Next returns the oldest event that was not returned yet. It waits for one
// until ctx ends or the connection dies; events that came before the death are
// still delivered.
func (e *Events) Next(ctx context.Context) (Event, error) {
	for {
		if ev, ok := e.pop(); ok {
			return ev, nil
		}
		select {
		case <-e.wake:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		case <-e.client.done:
			if ev, ok := e.pop(); ok {
				return ev, nil
			}
			return Event{}, e.client.Err()
		}
	}
}

// Ready gets a token when an event may be waiting; TryNext then takes it.
func (e *Events) Ready() <-chan struct{} { return e.wake }

// TryNext is Next without waiting.
func (e *Events) TryNext() (Event, bool) { return e.pop() }

// Close ends the subscription.
func (e *Events) Close() {
	e.client.mu.Lock()
	delete(e.client.subscribers, e)
	e.client.mu.Unlock()
}

func (e *Events) push(ev Event) {
	e.mu.Lock()
	e.queue = append(e.queue, ev)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Events) pop() (Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return Event{}, false
	}
	ev := e.queue[0]
	e.queue = e.queue[1:]
	return ev, true
}
