package nats_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/trust"
)

// members makes up a cluster of n on loopback.
func members(t *testing.T, n int) map[string]string {
	all := map[string]string{}
	for i, port := range freePorts(t, n) {
		all[fmt.Sprintf("c%d", i+1)] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return all
}

// TestEmbeddedCluster: three servers keep one store, and carry each other's
// messages; when one of them goes, who was connected there finds another.
func TestEmbeddedCluster(t *testing.T) {
	t.Run("in clear", func(t *testing.T) { embeddedCluster(t, func(string) *tls.Config { return nil }) })
	t.Run("by TLS", func(t *testing.T) {
		of := authority(t)
		embeddedCluster(t, func(name string) *tls.Config { return of(name).Peer(snapline.KindCoordinator) })
	})
}

// authority makes one, and gives out coordinators' credentials.
func authority(t *testing.T) (of func(name string) *trust.Holder) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "trust")
	if err := trust.Init(dir, "boss", time.Now(), func(*trust.Credential) error { return nil }); err != nil {
		t.Fatal(err)
	}
	ca, _, err := trust.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) *trust.Holder {
		cred, err := ca.Coordinator(name, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return trust.NewHolder(cred, nil)
	}
}

// TestForeignServerStaysOut: a server of another authority is no member, whatever
// address it has.
func TestForeignServerStaysOut(t *testing.T) {
	all := members(t, 3)
	ours, theirs := authority(t), authority(t)
	start := func(name string, h *trust.Holder) *nats.Conn {
		s, err := nats.StartServer(nats.ServerOptions{Listen: "127.0.0.1:0", Dir: t.TempDir(), Cluster: &nats.Cluster{Name: name, Members: all, TLS: h.Peer(snapline.KindCoordinator)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Shutdown)
		return dial(t, nats.DialOptions{InProcess: s})
	}
	c1, c2 := start("c1", ours("c1")), start("c2", ours("c2"))
	c3 := start("c3", theirs("c3"))
	for name, c := range map[string]*nats.Conn{"c2": c2, "c3": c3} {
		stop, err := c.Answer("coordinator.x", func(context.Context, snapline.Address, []byte) []byte { return []byte(name) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	await(t, "c2 answers", func() bool {
		got, err := c1.Ask(within(t), "coordinator.x", nil)
		return err == nil && string(got) == "c2"
	})
	if got, err := c3.Ask(within(t), "coordinator.x", nil); err != nil || string(got) != "c3" {
		t.Errorf("the stranger hears %q, %v", got, err)
	}
}

func embeddedCluster(t *testing.T, config func(name string) *tls.Config) {
	all := members(t, 3)
	servers := map[string]*nats.Server{}
	conns := map[string]*nats.Conn{}
	var urls []string
	for name := range all {
		s, err := nats.StartServer(nats.ServerOptions{Listen: "127.0.0.1:0", Dir: t.TempDir(), Cluster: &nats.Cluster{Name: name, Members: all, TLS: config(name)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Shutdown)
		servers[name], conns[name] = s, dial(t, nats.DialOptions{InProcess: s})
		urls = append(urls, s.URL())
	}
	stores := map[string]*nats.Store{}
	for name, c := range conns {
		s, err := nats.OpenStore(within(t), c, nats.StoreOptions{Bucket: "snapline", Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		stores[name] = s
	}
	if err := stores["c1"].Put(within(t), "group.etcd", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for name, s := range stores { // what one has written, all read
		if v, _, err := s.Get(within(t), "group.etcd"); err != nil || string(v) != "x" {
			t.Errorf("%s reads %q, %v", name, v, err)
		}
	}

	onState, state := states()
	agent := dial(t, nats.DialOptions{URL: strings.Join(urls, ","), OnState: onState})
	next(t, state)
	for name, c := range conns {
		at := snapline.Address("coordinator." + name)
		stop, err := c.Answer(at, func(context.Context, snapline.Address, []byte) []byte { return []byte(name) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		await(t, "an answer of "+name, func() bool {
			got, err := agent.Ask(within(t), at, nil)
			return err == nil && string(got) == name
		})
	}
	if err := agent.Rejoin(); err != nil {
		t.Fatal(err)
	}
	for !next(t, state) {
	}

	servers["c1"].Shutdown()
	for _, name := range []string{"c2", "c3"} {
		await(t, name+" writes without c1", func() bool { return stores[name].Put(within(t), "group."+name, nil) == nil })
		await(t, "the agent reaches "+name, func() bool {
			got, err := agent.Ask(within(t), snapline.Address("coordinator."+name), nil)
			return err == nil && string(got) == name
		})
	}
}

func TestClusterBadOptions(t *testing.T) {
	good := map[string]string{"c1": "127.0.0.1:1", "c2": "127.0.0.1:2", "c3": "127.0.0.1:3"}
	for name, c := range map[string]struct {
		cluster nats.Cluster
		want    string
	}{
		"two":          {nats.Cluster{Name: "c1", Members: map[string]string{"c1": "h:1", "c2": "h:2"}}, "three or five"},
		"not a member": {nats.Cluster{Name: "c4", Members: good}, `without its member "c4"`},
		"no port":      {nats.Cluster{Name: "c1", Members: map[string]string{"c1": "127.0.0.1:1", "c2": "h", "c3": "h:3"}}, "HOST:PORT"},
		"one address":  {nats.Cluster{Name: "c1", Members: map[string]string{"c1": "127.0.0.1:1", "c2": "127.0.0.1:1", "c3": "h:3"}}, "are both at"},
	} {
		s, err := nats.StartServer(nats.ServerOptions{Listen: "127.0.0.1:0", Dir: t.TempDir(), Cluster: &c.cluster})
		if err == nil {
			s.Shutdown()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: StartServer = %v, want %q", name, err, c.want)
		}
	}
}
