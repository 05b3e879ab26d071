package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/snapline/snapline"
)

const (
	// silence is how long a stream may send nothing, not even a keep-alive,
	// before the connection is taken for dead.
	silence = 3 * keepAlive
	// attempts bounds the reconnections in a row that bring no new step.
	attempts   = 6
	firstPause = 100 * time.Millisecond
)

// Progress follows an operation as Service says. A connection that breaks is
// made again, a few times, and the sequence goes on with the step after the
// last one; when that does not help it ends without a step that is Done, and
// Operation tells why. The sequence must be ranged over, or ctx ended, for the
// connection to be given back.
func (c *Client) Progress(ctx context.Context, id snapline.OperationID, after uint64) (iter.Seq[snapline.Progress], error) {
	f := follower[snapline.Progress]{client: c, path: "/v1/operations/" + url.PathEscape(string(id)) + "/progress", last: after,
		id: func(p snapline.Progress) uint64 { return p.ID }, ends: func(p snapline.Progress) bool { return p.Done }}
	first, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	return func(yield func(snapline.Progress) bool) { f.run(ctx, first, yield) }, nil
}

// FollowEvents follows the log of events as Service says; see Progress for
// what happens when the connection breaks.
func (c *Client) FollowEvents(ctx context.Context, after uint64) (iter.Seq[snapline.Event], error) {
	f := follower[snapline.Event]{client: c, path: "/v1/events/follow", last: after,
		id: func(e snapline.Event) uint64 { return e.ID }, ends: func(snapline.Event) bool { return false }}
	first, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	return func(yield func(snapline.Event) bool) { f.run(ctx, first, yield) }, nil
}

// follower reads one stream over as many connections as it takes.
type follower[T any] struct {
	client *Client
	path   string
	last   uint64 // id of the last step that was yielded
	id     func(T) uint64
	ends   func(T) bool // there is none after it
}

// connection is one stream; close it whatever happened.
type connection struct {
	events *eventReader
	close  func()
}

func (f *follower[T]) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithCancel(ctx)
	header := http.Header{"Accept": {eventsType}}
	if f.last > 0 {
		header.Set(lastEventID, strconv.FormatUint(f.last, 10))
	}
	resp, err := f.client.send(ctx, http.MethodGet, f.path, nil, header)
	if err != nil {
		cancel()
		return nil, err
	}
	watch := time.AfterFunc(silence, cancel)
	return &connection{
		events: newEventReader(resp.Body, func() { watch.Reset(silence) }),
		close: func() {
			watch.Stop()
			cancel()
			resp.Body.Close()
		},
	}, nil
}

func (f *follower[T]) run(ctx context.Context, conn *connection, yield func(T) bool) {
	failed := 0
	for ctx.Err() == nil {
		if conn != nil {
			before := f.last
			ended := f.read(conn, yield)
			conn.close()
			if ended {
				return
			}
			if f.last > before {
				failed = 0
			}
		}
		if failed == attempts || !pause(ctx, firstPause<<failed) {
			return
		}
		failed++
		var err error
		if conn, err = f.connect(ctx); err != nil && !passing(err) {
			return
		}
	}
	if conn != nil {
		conn.close()
	}
}

// read yields the steps of one connection and reports whether that was all.
func (f *follower[T]) read(conn *connection, yield func(T) bool) (ended bool) {
	for {
		e, err := conn.events.next()
		if err != nil {
			return false
		}
		if e.name == endEvent {
			return true
		}
		var p T
		if e.name != "" && e.name != "message" || json.Unmarshal(e.data, &p) != nil {
			continue // an event of a later version
		}
		id := f.id(p)
		if id <= f.last {
			continue // a server that replays too much must not make steps happen twice
		}
		f.last = id
		if !yield(p) || f.ends(p) {
			return true
		}
	}
}

// passing reports whether trying again may help.
func passing(err error) bool {
	var e *snapline.Error
	return errors.As(err, &e) && e.Code == snapline.CodeUnavailable
}

// pause waits, or reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
