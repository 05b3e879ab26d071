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
	f := follower{client: c, path: "/v1/operations/" + url.PathEscape(string(id)) + "/progress", last: after}
	first, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	return func(yield func(snapline.Progress) bool) { f.run(ctx, first, yield) }, nil
}

// follower reads one operation's stream over as many connections as it takes.
type follower struct {
	client *Client
	path   string
	last   uint64 // id of the last step that was yielded
}

// connection is one stream; close it whatever happened.
type connection struct {
	events *eventReader
	close  func()
}

func (f *follower) connect(ctx context.Context) (*connection, error) {
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

func (f *follower) run(ctx context.Context, conn *connection, yield func(snapline.Progress) bool) {
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
func (f *follower) read(conn *connection, yield func(snapline.Progress) bool) (ended bool) {
	for {
		e, err := conn.events.next()
		if err != nil {
			return false
		}
		if e.name == endEvent {
			return true
		}
		var p snapline.Progress
		if e.name != "" && e.name != "message" || json.Unmarshal(e.data, &p) != nil {
			continue // an event of a later version
		}
		if p.ID <= f.last {
			continue // a server that replays too much must not make steps happen twice
		}
		f.last = p.ID
		if !yield(p) || p.Done {
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
