package bank

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Datagrams may overtake each other; one too many or too few is noticed.
func TestDatagramFlow(t *testing.T) {
	out := Flow{Peer: "n2", Transport: datagram}
	var sent []transfer
	for i := range uint64(5) {
		sent = append(sent, out.sent(transfer{Kind: kindTransfer, Amount: 10 + i}))
	}
	in := Flow{Peer: "n1", Transport: datagram}
	for _, i := range []int{0, 3, 1, 4} {
		if fresh, err := in.received(sent[i], time.Now()); !fresh || err != nil {
			t.Fatalf("transfer %d: %v, %v", i, fresh, err)
		}
	}
	if in.Transfers == out.Transfers || in.Chain == out.Chain {
		t.Error("a loss does not show")
	}
	if _, err := in.received(sent[3], time.Now()); err == nil || !strings.Contains(err.Error(), "came twice") {
		t.Errorf("a duplicate: %v", err)
	}
	if fresh, err := in.received(sent[2], time.Now()); !fresh || err != nil {
		t.Errorf("the missing one: %v, %v", fresh, err)
	}
	if in.Transfers != out.Transfers || in.Amount != out.Amount || in.Chain != out.Chain {
		t.Errorf("%+v sent, %+v received", out, in)
	}
	if _, err := in.received(transfer{Seq: 1 << 40}, time.Now()); err == nil {
		t.Error("a number out of the blue")
	}
}

// The auditor finds money that a datagram has taken with it.
func TestDatagramBooks(t *testing.T) {
	a, b := loopback(5), loopback(6)
	var p pair
	for _, name := range []string{"n1", "n2"} {
		m, err := Start(Config{Name: name, Peers: []Peer{{"n1", a}, {"n2", b}}, Interval: 2 * time.Millisecond, Datagrams: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		p.members = append(p.members, m)
		p.clients = append(p.clients, NewClient(net.JoinHostPort(m.address, ControlPort), nil))
	}
	p.await(t, 20)
	if r := p.audit(t); !r.OK() {
		t.Error("sound books do not pass")
	}
	n1 := p.members[0]
	if _, ok := n1.begin(n1.out[datagram+" n2"], false); !ok { // begun, and lost
		t.Fatal("it is quiet")
	}
	r := p.audit(t)
	if r.OK() || !strings.Contains(r.Checks.String(), "datagram n1 to n2") {
		t.Error("the loss does not show")
	}
}
