package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
)

// coordinators serves three of one fake's, of which lead makes one the leader.
func coordinators(t *testing.T, fake api.Service) (servers []string, lead func(i int)) {
	t.Helper()
	var all []*api.Standby
	var now atomic.Value
	now.Store("")
	end := func() {}
	for _, name := range []string{"c1", "c2", "c3"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &api.Standby{Name: name, Leader: func() string { return now.Load().(string) }}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- api.Server{}.ServeHandler(ctx, l, s) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		servers, all = append(servers, "http://"+l.Addr().String()), append(all, s)
	}
	t.Cleanup(func() { end() })
	return servers, func(i int) {
		end()
		if i < 0 {
			return
		}
		term, cancel := context.WithCancel(context.Background())
		end = cancel
		all[i].Lead(term, api.Server{Service: fake}.Handler())
		now.Store([]string{"c1", "c2", "c3"}[i])
	}
}

// TestFailover: whoever leads is found, a change of the lead is waited for, and an
// operation that is followed goes on with the next.
func TestFailover(t *testing.T) {
	fake := apitest.New(apitest.Options{Hold: true})
	t.Cleanup(fake.Close)
	servers, lead := coordinators(t, fake)
	c, err := api.NewClient(strings.Join(servers, ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	lead(2)
	g := snapline.Group{Name: "twins", Members: []snapline.Member{{Name: "n1", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/n1"}}}}
	if _, err := c.Apply(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	op, err := c.Take(t.Context(), snapline.TakeRequest{Group: "twins"})
	if err != nil {
		t.Fatal(err)
	}
	steps, err := c.Progress(t.Context(), op.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	moved := false
	for p := range steps {
		if !moved { // the stream of this one breaks off, and for a while nobody leads
			moved = true
			lead(-1)
			time.AfterFunc(500*time.Millisecond, func() {
				lead(0)
				if err := fake.Release(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		if p.Done && p.Text != "done" {
			t.Errorf("it ended with %q", p.Text)
		}
	}
	if op, err = c.Operation(t.Context(), op.ID); err != nil || op.State != "done" {
		t.Errorf("operation %+v, %v", op, err)
	}
}

// TestFailoverDoesNothingTwice: what may have reached a coordinator is not asked
// of the next one, unless it only asks.
func TestFailoverDoesNothingTwice(t *testing.T) {
	var posts, gets atomic.Int32
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
		} else {
			gets.Add(1)
		}
		panic(http.ErrAbortHandler) // takes the request, and the connection with it
	})
	var servers []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: broken}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		servers = append(servers, "http://"+l.Addr().String())
	}
	c, err := api.NewClient(strings.Join(servers, ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, err = c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if e := (*snapline.Error)(nil); !errors.As(err, &e) || e.Code != snapline.CodeUnavailable || posts.Load() != 1 {
		t.Errorf("Take = %v after %d requests", err, posts.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Hosts(ctx); err == nil || gets.Load() < 4 {
		t.Errorf("Hosts = %v after %d requests", err, gets.Load())
	}
}

// TestStandby: who asks one that does not lead is told what to do.
func TestStandby(t *testing.T) {
	fake := apitest.New(apitest.Options{})
	t.Cleanup(fake.Close)
	servers, lead := coordinators(t, fake)
	lead(0)
	c, err := api.NewClient(servers[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, err = c.Hosts(t.Context())
	e := (*snapline.Error)(nil)
	if !errors.As(err, &e) || e.Code != snapline.CodeUnavailable || !strings.Contains(e.Message, "c2 stands by; the last that led is c1") || !strings.Contains(e.Hint, "--server") {
		t.Errorf("Hosts = %v", err)
	}
}
