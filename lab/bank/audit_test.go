package bank

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// pair is two members with a middleman between them.
type pair struct {
	members []*Member
	clients []*Client
	between *middleman
}

func newPair(t *testing.T) pair {
	t.Helper()
	a, b, mid := loopback(1), loopback(2), loopback(3)
	p := pair{between: newMiddleman(t, mid, map[string]string{"n1": a, "n2": b})}
	views := map[string][]Peer{ // n2 first, so that it listens when n1 connects
		"n2": {{"n1", mid}, {"n2", b}},
		"n1": {{"n1", a}, {"n2", mid}},
	}
	// Both listen before either can connect through the middleman: a connection
	// that reaches nobody would count as broken.
	p.between.mu.Lock()
	for _, name := range []string{"n2", "n1"} {
		m, err := Start(Config{Name: name, Peers: views[name], Interval: 2 * time.Millisecond})
		if err != nil {
			p.between.mu.Unlock()
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		p.members = append(p.members, m)
		p.clients = append(p.clients, NewClient(net.JoinHostPort(m.address, ControlPort), nil))
	}
	p.between.mu.Unlock()
	p.await(t, 20)
	return p
}

// await waits until each incoming flow has had n more transfers.
func (p pair) await(t *testing.T, n uint64) {
	t.Helper()
	before := make(map[string]uint64)
	for _, m := range p.members {
		for _, f := range m.State().In {
			before[m.cfg.Name+f.Transport] = f.Transfers
		}
	}
	eventually(t, func() bool {
		for _, m := range p.members {
			for _, f := range m.State().In {
				if f.Transfers < before[m.cfg.Name+f.Transport]+n {
					return false
				}
			}
		}
		return true
	})
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not happen in 20 s")
		case <-tick.C:
		}
	}
}

func (p pair) audit(t *testing.T) Report {
	t.Helper()
	r, err := Audit(t.Context(), p.clients, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + r.Checks.String())
	return r
}

// once returns a fault that treats the first matching transfer specially.
func once(transport string, treat func(frame []byte) ([][]byte, error)) (f fault, done <-chan struct{}) {
	ch := make(chan struct{})
	fired := false
	return func(tr, from string, frame []byte) ([][]byte, error) {
		if fired || tr != transport || from != "n1" || frame[2] != kindTransfer {
			return [][]byte{frame}, nil
		}
		fired = true
		close(ch)
		return treat(frame)
	}, ch
}

func TestSoundBooks(t *testing.T) {
	p := newPair(t)
	r := p.audit(t)
	if !r.OK() {
		t.Error("sound books do not pass")
	}
	p.await(t, 5) // goes on after the audit
	if r := p.audit(t); !r.OK() {
		t.Error("sound books do not pass a second time")
	}
}

// What a network may do to UDP is not the members' fault.
func TestUDPOverBadNetwork(t *testing.T) {
	p := newPair(t)
	n, held := make(map[string]int), make(map[string][]byte)
	p.between.set(func(transport, from string, frame []byte) ([][]byte, error) {
		if transport == "tcp" {
			return [][]byte{frame}, nil
		}
		switch n[from]++; n[from] % 7 {
		case 0:
			return nil, nil // lost
		case 1:
			return [][]byte{frame, frame}, nil // twice
		case 2:
			held[from] = frame // late, and out of order
			return nil, nil
		case 4:
			return [][]byte{frame, held[from]}, nil
		}
		return [][]byte{frame}, nil
	})
	p.await(t, 5)
	r := p.audit(t)
	if !r.OK() {
		t.Error("loss, repetition and reordering of datagrams broke the books")
	}
	repeated := uint64(0)
	for _, s := range r.Members {
		for _, f := range s.In {
			repeated += f.Repeated
		}
	}
	if repeated == 0 {
		t.Error("nothing was repeated: the network was not bad")
	}
}

// The auditor must be able to fail: each fault here is one that a wrong
// snapshot could cause, and is named in the report.
func TestAuditSees(t *testing.T) {
	for _, c := range []struct {
		name, transport string
		treat           func(frame []byte) ([][]byte, error)
		want            string // in the failed checks
	}{
		{"a lost transfer", "tcp", func([]byte) ([][]byte, error) { return nil, nil }, "lost in between"},
		{"a repeated transfer", "tcp", func(f []byte) ([][]byte, error) { return [][]byte{f, f}, nil }, "came again"},
		{"a broken connection", "tcp", func([]byte) ([][]byte, error) { return nil, errors.New("cut") }, "broke"},
		{"created money", "tcp", func(f []byte) ([][]byte, error) { f[22]++; return [][]byte{f}, nil }, "not the same"},
		{"created money", "udp", func(f []byte) ([][]byte, error) { f[22]++; return [][]byte{f}, nil }, "not the same"},
		{"a datagram of the future", "udp", func(f []byte) ([][]byte, error) {
			g := append([]byte(nil), f...)
			g[14]++ // 256 later
			return [][]byte{f, g}, nil
		}, "lost in between"},
	} {
		t.Run(c.transport+" "+c.name, func(t *testing.T) {
			p := newPair(t)
			f, done := once(c.transport, c.treat)
			p.between.set(f)
			<-done
			eventually(t, func() bool { // until the frames after it have been seen too
				s := p.members[0].State()
				for _, in := range s.In {
					if in.Transport == c.transport && in.Transfers > 30 {
						return true
					}
				}
				return len(s.Violations) > 0
			})
			failed(t, p.audit(t), c.want)
		})
	}
}

func failed(t *testing.T, r Report, want string) {
	t.Helper()
	if r.OK() {
		t.Fatal("the audit passed")
	}
	for _, c := range r.Checks {
		if !c.OK && strings.Contains(c.Detail, want) {
			return
		}
	}
	t.Errorf("no failed check says %q", want)
}

// A member whose books are older than its peer's is what an inconsistent
// snapshot would bring back.
func TestAuditSeesRolledBackMember(t *testing.T) {
	for i, name := range []string{"n2", "n1"} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			m := p.members[i]
			back := m.copyBooks()
			p.await(t, 10)
			back()
			p.await(t, 0)
			if r := p.audit(t); r.OK() {
				t.Error("the audit passed")
			}
		})
	}
}

// copyBooks remembers the member's books; calling back makes them those again.
func (m *Member) copyBooks() (back func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	balances := m.balances
	flows := make(map[*Flow]Flow)
	for _, f := range m.out {
		flows[f] = *f
	}
	for _, f := range m.in {
		flows[f] = *f
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.balances = balances
		for f, was := range flows {
			*f = was
		}
	}
}

func TestAuditNeedsEveryMember(t *testing.T) {
	p := newPair(t)
	p.members[1].Close()
	if _, err := Audit(t.Context(), p.clients, time.Second); err == nil {
		t.Error("an audit without one member gave a verdict")
	}
}
