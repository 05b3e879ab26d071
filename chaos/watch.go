package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// watch keeps what the coordinators have said: all events, also those that one
// never came to write down before it was killed, and what is known of snapshots that
// may be deleted meanwhile. Safe for use from several goroutines.
type watch struct {
	api *api.Client

	mu     sync.Mutex
	events map[eventKey]snapline.Event
	cuts   map[snapline.SnapshotID]span
	asked  []asked
}

// eventKey tells two events apart that have one number, the first of which was lost
// with its coordinator.
type eventKey struct {
	id uint64
	at int64
}

// span is from one moment to another, Unix nanoseconds.
type span struct{ from, to int64 }

// asked is a restore that this program has asked for.
type asked struct {
	op       snapline.OperationID
	snapshot snapline.SnapshotID
	at       time.Time // before it was asked for
}

func newWatch(c *api.Client) *watch {
	return &watch{api: c, events: map[eventKey]snapline.Event{}, cuts: map[snapline.SnapshotID]span{}}
}

// run looks until ctx ends. A coordinator that does not answer has nothing to say.
func (w *watch) run(ctx context.Context) {
	for wait(ctx, 300*time.Millisecond) == nil {
		w.look(ctx)
	}
}

// look reads all that there is: numbers of lost events come again, so none can be
// passed over by its number.
func (w *watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all, err := w.api.Events(ctx, "", 0)
	if err != nil {
		return
	}
	for _, e := range all {
		key := eventKey{e.ID, e.At.UnixNano()}
		w.mu.Lock()
		_, known := w.events[key]
		w.events[key] = e
		w.mu.Unlock()
		if !known && e.Kind == snapline.EventTaken {
			w.lookAt(ctx, e.Snapshot)
		}
	}
}

// lookAt notes when a snapshot's cut was made: from when it was asked for until the
// last member's gate was down.
func (w *watch) lookAt(ctx context.Context, id snapline.SnapshotID) {
	s, err := w.api.Snapshot(ctx, id)
	if err != nil {
		return // its event bounds it too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	from := s.TakenAt.UnixNano()
	w.cuts[id] = span{from, from + int64(s.Cut.DurationMS*1e6)}
}

func (w *watch) ask(a asked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, a)
}

// all returns the events in the order of their time.
func (w *watch) all() []snapline.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.events), func(a, b snapline.Event) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
}

// count counts the events of some kinds.
func (w *watch) count(of ...snapline.EventKind) (n int) {
	for _, e := range w.all() {
		if slices.Contains(of, e.Kind) {
			n++
		}
	}
	return n
}

// restorations are all times that the group was taken back, or may have been.
func (w *watch) restorations() []restoration {
	events := w.all()
	w.mu.Lock()
	defer w.mu.Unlock()
	return restorations(events, w.asked, w.cuts)
}
