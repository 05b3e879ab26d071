package nats_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/nats"
)

// states returns an OnState callback and the channel that it fills.
func states() (func(bool), <-chan bool) {
	c := make(chan bool, 64)
	return func(up bool) { c <- up }, c
}

// TestReconnect is a coordinator's restart as its agent sees it.
func TestReconnect(t *testing.T) {
	dir := t.TempDir()
	server := start(t, dir)
	addr := strings.TrimPrefix(server.URL(), "nats://")
	onState, state := states()
	agent := dial(t, nats.DialOptions{URL: addr, OnState: onState})
	if !next(t, state) {
		t.Fatal("the first state is not connected")
	}
	got := make(chan string, 8)
	stop, err := agent.Receive("agent.h1", func(_ snapline.Address, m []byte) { got <- string(m) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	for round := range 3 {
		server.Shutdown()
		if next(t, state) {
			t.Fatalf("restart %d: connected, want disconnected", round)
		}
		if err := agent.Send(t.Context(), "coordinator", []byte("stale")); !errors.Is(err, nats.ErrDisconnected) {
			t.Fatalf("Send = %v, want ErrDisconnected", err)
		}
		if _, err := agent.Ask(t.Context(), "coordinator", nil); !errors.Is(err, nats.ErrDisconnected) || !errors.Is(err, snapline.ErrNoAnswer) {
			t.Fatalf("Ask = %v, want ErrNoAnswer and ErrDisconnected", err)
		}
		server = startAt(t, addr, dir)
		coordinator := dial(t, nats.DialOptions{InProcess: server})
		heard := make(chan string, 8)
		stopHearing, err := coordinator.Receive("coordinator", func(_ snapline.Address, m []byte) { heard <- string(m) })
		if err != nil {
			t.Fatal(err)
		}
		if !next(t, state) {
			t.Fatalf("restart %d: still disconnected", round)
		}
		// The agent's receiver is there again, and what it could not send before
		// does not come now.
		if err := agent.Send(t.Context(), "coordinator", []byte("fresh")); err != nil {
			t.Fatal(err)
		}
		if m := next(t, heard); m != "fresh" {
			t.Fatalf("the coordinator heard %q", m)
		}
		if err := coordinator.Send(t.Context(), "agent.h1", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if m := next(t, got); m != "hello" {
			t.Fatalf("the agent got %q", m)
		}
		stopHearing()
	}
}

// TestAskEndsWithConnection: an answer that cannot come is not waited for.
func TestAskEndsWithConnection(t *testing.T) {
	server := start(t, t.TempDir())
	a, b := dial(t, nats.DialOptions{URL: server.URL()}), dial(t, nats.DialOptions{URL: server.URL()})
	entered := make(chan struct{}, 1)
	stop, err := b.Answer("agent.h1", func(ctx context.Context, _ snapline.Address, _ []byte) []byte {
		entered <- struct{}{}
		<-ctx.Done()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	result := make(chan error, 1)
	go func() {
		_, err := a.Ask(context.Background(), "agent.h1", nil)
		result <- err
	}()
	next(t, entered)
	server.Shutdown()
	if err := next(t, result); !errors.Is(err, snapline.ErrNoAnswer) {
		t.Errorf("Ask = %v, want ErrNoAnswer", err)
	}
}

// TestAgentBeforeCoordinator: the agent waits, says so once, and nothing that it
// tried to send meanwhile arrives later.
func TestAgentBeforeCoordinator(t *testing.T) {
	dir := t.TempDir()
	placeholder := start(t, dir)
	addr := strings.TrimPrefix(placeholder.URL(), "nats://")
	placeholder.Shutdown()

	var log lockedBuffer
	onState, state := states()
	var attempts atomic.Int32
	agent := dialOnly(t, nats.DialOptions{
		URL: addr, OnState: onState, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Dial: func(network, address string) (net.Conn, error) {
			attempts.Add(1)
			return net.Dial(network, address)
		},
	})
	await(t, "the fourth attempt", func() bool { return attempts.Load() >= 4 })
	if err := agent.Send(t.Context(), "coordinator", []byte("stale")); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("Send = %v, want ErrDisconnected", err)
	}
	got := make(chan string, 8)
	stop, err := agent.Receive("agent.h1", func(_ snapline.Address, m []byte) { got <- string(m) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := agent.WaitConnected(ended); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("WaitConnected = %v, want ErrDisconnected", err)
	}

	server := startAt(t, addr, dir)
	coordinator := dial(t, nats.DialOptions{InProcess: server})
	heard := make(chan string, 8)
	stopHearing, err := coordinator.Receive("coordinator", func(_ snapline.Address, m []byte) { heard <- string(m) })
	if err != nil {
		t.Fatal(err)
	}
	defer stopHearing()
	if !next(t, state) {
		t.Error("the first state is not connected")
	}
	if err := agent.Send(t.Context(), "coordinator", []byte("fresh")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard); m != "fresh" {
		t.Errorf("the coordinator heard %q", m)
	}
	if err := coordinator.Send(t.Context(), "agent.h1", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	next(t, got)
	if n := strings.Count(log.String(), "cannot be reached"); n != 1 {
		t.Errorf("said %d times that the bus cannot be reached:\n%s", n, log.String())
	}
}

func TestCloseWhileDisconnected(t *testing.T) {
	server := start(t, t.TempDir())
	onState, state := states()
	c := dial(t, nats.DialOptions{URL: server.URL(), OnState: onState})
	next(t, state)
	server.Shutdown()
	next(t, state)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil { // twice is fine
		t.Error(err)
	}
	if err := c.WaitConnected(t.Context()); err == nil {
		t.Error("WaitConnected on a closed Conn succeeded")
	}
}

// TestCloseSendsFirst: what Send has accepted is not lost by Close.
func TestCloseSendsFirst(t *testing.T) {
	server := start(t, t.TempDir())
	a, b := dial(t, nats.DialOptions{URL: server.URL()}), dial(t, nats.DialOptions{URL: server.URL()})
	const n = 200
	got := make(chan struct{}, n)
	stop, err := b.Receive("agent.h1", func(snapline.Address, []byte) { got <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for range n {
		if err := a.Send(t.Context(), "agent.h1", make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range n {
		next(t, got)
	}
}

func TestTooLargeMessage(t *testing.T) {
	server := start(t, t.TempDir())
	c := dial(t, nats.DialOptions{URL: server.URL()})
	large := make([]byte, nats.MaxMessage+1)
	if err := c.Send(t.Context(), "agent.h1", large); err == nil {
		t.Error("Send took more than MaxMessage")
	}
	if _, err := c.Ask(t.Context(), "agent.h1", large); err == nil || errors.Is(err, snapline.ErrNoAnswer) {
		t.Errorf("Ask = %v, want an error about the size", err)
	}
	if err := c.Send(t.Context(), "agent.h1", large[:nats.MaxMessage]); err != nil {
		t.Errorf("Send of MaxMessage: %v", err)
	}
}

func TestDialBadOptions(t *testing.T) {
	for _, url := range []string{"", "nats://127.0.0.1:port", "nats://[::1"} {
		c, err := nats.Dial(t.Context(), nats.DialOptions{URL: url, As: "agent.h1"})
		if err == nil {
			c.Close()
			t.Errorf("Dial(%q) succeeded", url)
		}
	}
}

// lockedBuffer is a bytes.Buffer for a logger on another goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
