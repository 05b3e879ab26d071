package nats_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/nats"
)

// foreign starts a server that is not ours, as --nats URL would find it.
func foreign(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.NoSigs, opts.NoLog = "127.0.0.1", true, true
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the foreign server did not start")
	}
	return s
}

func TestExternalServer(t *testing.T) {
	s := foreign(t, &server.Options{JetStream: true, StoreDir: t.TempDir()})
	bustest.TestBus(t, func(t *testing.T) (a, b snapline.Bus) {
		return dial(t, nats.DialOptions{URL: s.Addr().String(), As: snapline.ToCoordinator}), dial(t, nats.DialOptions{URL: s.ClientURL()})
	})
	bustest.TestStore(t, freshBuckets(s.ClientURL(), 0))
	readsFromLeader(t, s.ClientURL())
}

// readsFromLeader checks that no replica answers a read by itself: one that lags
// would not show what Put has accepted. No test can wait for a lag to happen.
func readsFromLeader(t *testing.T, url string) {
	t.Helper()
	nc, err := natsio.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(within(t), "KV_b1")
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.AllowDirect || c.MaxMsgsPerSubject != 1 || c.Storage != jetstream.FileStorage {
		t.Errorf("the bucket's stream has configuration %+v", c)
	}
}

// TestExternalCluster uses three servers and three replicas, on which the server
// words conflicts differently and any replica might answer a read.
func TestExternalCluster(t *testing.T) {
	ports := freePorts(t, 3)
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	var urls []string
	var nodes []*server.Server
	for i, p := range ports {
		s := foreign(t, &server.Options{
			ServerName: fmt.Sprintf("s%d", i), JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: p},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		urls, nodes = append(urls, s.ClientURL()), append(nodes, s)
	}
	await(t, "a JetStream leader", func() bool {
		for _, s := range nodes {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(nodes) {
				return true
			}
		}
		return false
	})
	bustest.TestStore(t, freshBuckets(strings.Join(urls, ","), 3))
}

// freshBuckets opens a new bucket on the same servers for each test.
func freshBuckets(url string, replicas int) func(t *testing.T) snapline.Store {
	n := 0
	return func(t *testing.T) snapline.Store {
		n++
		c := dial(t, nats.DialOptions{URL: url})
		s, err := nats.OpenStore(within(t), c, nats.StoreOptions{Bucket: fmt.Sprintf("b%d", n), Replicas: replicas})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestExternalServerWithoutJetStream(t *testing.T) {
	s := foreign(t, &server.Options{})
	c := dial(t, nats.DialOptions{URL: s.ClientURL()})
	_, err := nats.OpenStore(within(t), c, nats.StoreOptions{Bucket: "snapline"})
	if err == nil || !strings.Contains(err.Error(), "enable JetStream") {
		t.Errorf("OpenStore = %v", err)
	}
}

// freePorts finds ports that nobody listens on. Somebody may take one before it
// is used; nothing else here listens on fixed ports.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
