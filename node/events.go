package node

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

const (
	eventPrefix = "event."
	// keptEvents bounds the log, and the parts of an event what one takes of it:
	// some MiB at the most.
	keptEvents  = 512
	keptReasons = 16
	keptPeers   = 128
)

// events is the log of what happened: the last keptEvents, also after a
// restart. It is a ring of keys in the store, so that it needs no pruning. A
// store that is away delays what is written, never what is done. Safe for use
// from several goroutines.
type events struct {
	store snapline.Store
	clock Clock
	log   *slog.Logger

	mu      sync.Mutex
	kept    []snapline.Event // by ID
	unsaved []snapline.Event
	more    chan struct{} // closed and replaced when one is added
}

func newEvents(s snapline.Store, c Clock, log *slog.Logger) *events {
	return &events{store: s, clock: c, log: log, more: make(chan struct{})}
}

// load reads what earlier coordinators have written. An event that cannot be
// read is left out.
func (e *events) load(ctx context.Context) error {
	keys, err := e.store.Keys(ctx, eventPrefix)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	var all []snapline.Event
	for _, k := range keys {
		b, _, err := e.store.Get(ctx, k)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		var ev snapline.Event
		if err := json.Unmarshal(b, &ev); err != nil {
			e.log.Warn("event that cannot be read", "key", k, "error", err)
			continue
		}
		all = append(all, ev)
	}
	slices.SortFunc(all, func(a, b snapline.Event) int { return int(a.ID) - int(b.ID) })
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = all
	return nil
}

// add appends an event; it gives it its ID and time. It never blocks.
func (e *events) add(ev snapline.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.ID, ev.At = 1, e.clock.Wall()
	if n := len(e.kept); n > 0 {
		ev.ID = e.kept[n-1].ID + 1
	}
	ev.Reasons = ev.Reasons[:min(len(ev.Reasons), keptReasons)]
	if ev.Lost != nil {
		ev.Lost.Peers = ev.Lost.Peers[:min(len(ev.Lost.Peers), keptPeers)]
		ev.Lost.Gaps = ev.Lost.Gaps[:min(len(ev.Lost.Gaps), keptReasons)]
	}
	e.log.Info(ev.Text, "event", string(ev.Kind))
	e.kept = append(e.kept[max(0, len(e.kept)+1-keptEvents):], ev)
	e.unsaved = append(e.unsaved, ev)
	close(e.more)
	e.more = make(chan struct{})
}

// save writes what was added to the store, until ctx ends. What is left then is
// flush's.
func (e *events) save(ctx context.Context) {
	for {
		e.mu.Lock()
		todo, more := e.unsaved, e.more
		e.unsaved = nil
		e.mu.Unlock()
		if left := e.write(ctx, todo); len(left) > 0 {
			e.mu.Lock()
			e.unsaved = append(left, e.unsaved...)
			e.mu.Unlock()
			select {
			case <-time.After(time.Second):
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// flush is the last write of a coordinator that is ending.
func (e *events) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unsaved = e.write(ctx, e.unsaved)
}

// write returns those that could not be written.
func (e *events) write(ctx context.Context, todo []snapline.Event) []snapline.Event {
	for i, ev := range todo {
		b, err := json.Marshal(ev)
		if err == nil {
			err = e.store.Put(ctx, eventPrefix+strconv.FormatUint(ev.ID%keptEvents, 10), b)
		}
		if err != nil {
			if ctx.Err() == nil {
				e.log.Warn("write an event", "event", ev.ID, "error", err)
			}
			return todo[i:]
		}
	}
	return nil
}

// after returns the events with a greater ID, and what is closed when there is
// another one.
func (e *events) after(id uint64) ([]snapline.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := slices.BinarySearchFunc(e.kept, id+1, func(ev snapline.Event, id uint64) int { return int(ev.ID) - int(id) })
	return slices.Clone(e.kept[i:]), e.more
}

// Events lists what happened after the event of that ID, to one group or to
// all, oldest first.
func (c *Coordinator) Events(_ context.Context, g snapline.GroupName, after uint64) ([]snapline.Event, error) {
	all, _ := c.events.after(after)
	return slices.DeleteFunc(all, func(e snapline.Event) bool { return g != "" && e.Group != g }), nil
}

// FollowEvents yields what happened after the event of that ID and then what
// happens, until ctx ends.
func (c *Coordinator) FollowEvents(ctx context.Context, after uint64) (iter.Seq[snapline.Event], error) {
	return func(yield func(snapline.Event) bool) {
		for {
			all, more := c.events.after(after)
			for _, e := range all {
				if ctx.Err() != nil || !yield(e) {
					return
				}
				after = e.ID
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}
