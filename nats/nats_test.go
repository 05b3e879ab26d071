package nats_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/nats"
)

// patience bounds every wait. Reaching it fails the test.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		writeForEver(dir) // this process is a child of TestPutSurvivesKill
	}
	goleak.VerifyTestMain(m)
}

// start starts a server on a free loopback port.
func start(t testing.TB, dir string) *nats.Server {
	t.Helper()
	return startAt(t, "127.0.0.1:0", dir)
}

func startAt(t testing.TB, listen, dir string) *nats.Server {
	t.Helper()
	s, err := nats.StartServer(nats.ServerOptions{Listen: listen, Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// dial connects and waits for the connection.
func dial(t testing.TB, o nats.DialOptions) *nats.Conn {
	t.Helper()
	c := dialOnly(t, o)
	if err := c.WaitConnected(within(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

func dialOnly(t testing.TB, o nats.DialOptions) *nats.Conn {
	t.Helper()
	if o.As == "" {
		o.As = "agent.h1"
		if o.InProcess != nil {
			o.As = snapline.ToCoordinator
		}
	}
	c, err := nats.Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func openStore(t testing.TB, c *nats.Conn) *nats.Store {
	t.Helper()
	s, err := nats.OpenStore(within(t), c, nats.StoreOptions{Bucket: "snapline"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// within returns a context that ends with the test or with its patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
		panic("unreachable")
	}
}

func TestBusByTCP(t *testing.T) {
	server := start(t, t.TempDir())
	bustest.TestBus(t, func(t *testing.T) (a, b snapline.Bus) {
		return dial(t, nats.DialOptions{URL: server.URL(), As: snapline.ToCoordinator}), dial(t, nats.DialOptions{URL: server.URL()})
	})
}

// TestBusMixed is how a coordinator and its agents are connected.
func TestBusMixed(t *testing.T) {
	server := start(t, t.TempDir())
	bustest.TestBus(t, func(t *testing.T) (a, b snapline.Bus) {
		return dial(t, nats.DialOptions{InProcess: server}), dial(t, nats.DialOptions{URL: server.URL()})
	})
}

func TestStoreInProcess(t *testing.T) {
	bustest.TestStore(t, func(t *testing.T) snapline.Store {
		server, err := nats.StartServer(nats.ServerOptions{Dir: t.TempDir()}) // no socket at all
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Shutdown)
		return openStore(t, dial(t, nats.DialOptions{InProcess: server}))
	})
}
