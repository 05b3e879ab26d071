package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
)

// cutter breaks the connection of every event stream after some bytes, wherever
// in an event that is.
type cutter struct {
	http.Handler
	bytes   int
	streams atomic.Int64
	// replay makes the server ignore Last-Event-ID, as a careless one would.
	replay bool
	seen   chan string // Last-Event-ID of each stream
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/progress") {
		c.Handler.ServeHTTP(w, r)
		return
	}
	c.seen <- r.Header.Get("Last-Event-ID")
	if c.replay {
		r.Header.Del("Last-Event-ID")
	}
	// Each stream gets further than the one before, so that a careless server
	// too comes to an end.
	n := c.streams.Add(1)
	c.Handler.ServeHTTP(&limited{ResponseWriter: w, left: c.bytes * int(n)}, r)
}

// serve returns the address of a server whose streams are cut.
func (c *cutter) serve(t *testing.T) string {
	t.Helper()
	server := "unix://" + filepath.Join(t.TempDir(), "s.sock")
	l, err := api.Listen(server)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: c}}
	srv.Start()
	t.Cleanup(srv.Close)
	return server
}

type limited struct {
	http.ResponseWriter
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) <= l.left {
		l.left -= len(p)
		return l.ResponseWriter.Write(p)
	}
	l.ResponseWriter.Write(p[:l.left])
	http.NewResponseController(l.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func (l *limited) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// finished returns a Fake with one finished take and its steps.
func finished(t *testing.T) (*apitest.Fake, snapline.OperationID, []snapline.Progress) {
	t.Helper()
	f := newFake(t, apitest.Options{})
	if _, err := f.Apply(t.Context(), twins); err != nil {
		t.Fatal(err)
	}
	op, err := f.Take(t.Context(), snapline.TakeRequest{Group: twins.Name})
	if err != nil {
		t.Fatal(err)
	}
	return f, op.ID, steps(t, f, op.ID, 0)
}

func steps(t *testing.T, s api.Service, id snapline.OperationID, after uint64) []snapline.Progress {
	t.Helper()
	seq, err := s.Progress(t.Context(), id, after)
	if err != nil {
		t.Fatal(err)
	}
	var all []snapline.Progress
	for p := range seq {
		all = append(all, p)
	}
	return all
}

func TestProgressSurvivesCuts(t *testing.T) {
	t.Parallel()
	f, id, want := finished(t)
	for _, bytes := range []int{150, 151, 199, 260, 333} {
		for _, replay := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d,replay=%v", bytes, replay), func(t *testing.T) {
				t.Parallel()
				cut := &cutter{Handler: api.Server{Service: f}.Handler(), bytes: bytes, replay: replay, seen: make(chan string, 100)}
				got := steps(t, client(t, cut.serve(t)), id, 2)
				if diff := cmp.Diff(want[2:], got); diff != "" {
					t.Errorf("lost or doubled (-want +got):\n%s", diff)
				}
				if n := cut.streams.Load(); n < 3 {
					t.Errorf("%d streams: the connection was not cut", n)
				}
				close(cut.seen)
				last := uint64(2)
				for header := range cut.seen {
					n, err := strconv.ParseUint(header, 10, 64)
					if err != nil || n < last {
						t.Errorf("Last-Event-ID %q after %d", header, last)
					}
					last = n
				}
			})
		}
	}
}

// TestProgressGivesUp: a server that never gets a whole step across ends the
// sequence instead of holding the reader for ever.
func TestProgressGivesUp(t *testing.T) {
	t.Parallel()
	f, id, _ := finished(t)
	cut := &cutter{Handler: api.Server{Service: f}.Handler(), bytes: 1, seen: make(chan string, 100)}
	server := cut.serve(t)
	if got := steps(t, client(t, server), id, 0); len(got) != 0 {
		t.Errorf("steps out of nowhere: %v", got)
	}
}

// TestServeEndsStreams: a server that stops does not wait for its watchers.
func TestServeEndsStreams(t *testing.T) {
	t.Parallel()
	f := newFake(t, apitest.Options{Hold: true})
	server := "unix://" + filepath.Join(t.TempDir(), "s.sock")
	l, err := api.Listen(server)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, f) }()
	c := client(t, server)
	if _, err := c.Apply(t.Context(), twins); err != nil {
		t.Fatal(err)
	}
	op, err := c.Take(t.Context(), snapline.TakeRequest{Group: twins.Name})
	if err != nil {
		t.Fatal(err)
	}
	seq, err := c.Progress(t.Context(), op.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-f.Held()
	for p := range seq {
		if p.ID == 3 {
			stop()
		}
		if p.Done {
			t.Error("a step that did not happen")
		}
	}
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}
