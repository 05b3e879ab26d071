package bank

import (
	"net"
	"testing"
)

func TestPingAndWriter(t *testing.T) {
	peers := []Peer{{"n1", loopback(4)}, {"n2", loopback(5)}}
	var clients []*Client
	for _, p := range peers {
		m, err := Start(Config{Name: p.Name, Peers: peers, Idle: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		clients = append(clients, NewClient(net.JoinHostPort(p.Address, ControlPort), nil))
	}
	if err := clients[0].StartPing(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if err := clients[0].StartPing(t.Context(), "n2"); err == nil {
		t.Error("a second ping was started")
	}
	if err := clients[1].StartWriter(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if err := clients[1].StartWriter(t.Context(), 0); err == nil {
		t.Error("a writer over no memory was started")
	}
	eventually(t, func() bool {
		a, err := clients[0].Bench(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := clients[1].Bench(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a.Pings > 100 && a.LongestGapMS > 0 && a.PingError == "" && b.PagesWritten > 10000 && b.WritingMS > 0
	})
}
