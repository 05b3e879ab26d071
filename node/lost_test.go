package node

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// stillClock shows one moment.
type stillClock struct {
	now  snapline.Instant
	wall time.Time
}

func (c stillClock) Now() snapline.Instant { return c.now }
func (c stillClock) Wall() time.Time       { return c.wall }

// TestLostInterval: who was sent packets since the cut is named, with what is not
// known; in doubt an address is.
func TestLostInterval(t *testing.T) {
	const (
		now  = snapline.Instant(1000 * time.Second)
		cut  = snapline.Instant(900 * time.Second)
		host = snapline.Instant(5 * time.Second) // what another host's clock shows now
	)
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	c := &Coordinator{CoordinatorConfig: CoordinatorConfig{Clock: stillClock{now, noon}}}
	s := snapline.Snapshot{ID: "g-1", TakenAt: noon.Add(-100 * time.Second), Members: []snapline.MemberSnapshot{
		{Name: "n1", Evidence: &snapline.MemberEvidence{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}, {Name: "n2"}},
		Verdict: &snapline.Verdict{Peers: []snapline.Peer{{Member: "n2", Address: netip.MustParseAddr("192.0.2.99")}}}}
	ago := func(d time.Duration) snapline.Instant { return host.Add(-d) }
	row := func(a string, d time.Duration) peerRow { return peerRow{netip.MustParseAddr(a), ago(d)} }
	n1 := memberPeers{memberRef: memberRef{"g", "n1"}, Since: ago(time.Hour), Own: []netip.Addr{netip.MustParseAddr("10.0.0.7")}, Ended: true}
	n2 := memberPeers{memberRef: memberRef{"g", "n2"}, Since: ago(time.Hour), Ended: true}
	with := func(m memberPeers, change func(*memberPeers)) memberPeers { change(&m); return m }
	for _, test := range []struct {
		name  string
		told  []memberPeers
		peers []string
		gaps  []string
	}{
		{"nothing was told", nil, []string{"192.0.2.99"}, nil},
		{"before and after the cut", []memberPeers{n2, with(n1, func(m *memberPeers) {
			m.Peers = []peerRow{row("192.0.2.1", 99*time.Second), row("192.0.2.2", 100*time.Second+peerSlack/2), row("192.0.2.3", 103*time.Second)}
		})}, []string{"192.0.2.1", "192.0.2.2"}, nil},
		// 1 % of 101.9 s are 1.02: that clock may be fast
		{"clocks of other rates", []memberPeers{n2, with(n1, func(m *memberPeers) { m.Peers = []peerRow{row("192.0.2.4", 101900*time.Millisecond)} })}, []string{"192.0.2.4"}, nil},
		{"from the future", []memberPeers{n2, with(n1, func(m *memberPeers) { m.Peers = []peerRow{row("192.0.2.4", -time.Hour)} })}, []string{"192.0.2.4"}, nil},
		{"members, groups, nobody", []memberPeers{n2, with(n1, func(m *memberPeers) {
			m.Peers = []peerRow{row("10.0.0.1", 0), row("10.0.0.7", 0), row("224.0.0.251", 0), row("ff02::fb", 0), row("255.255.255.255", 0), row("0.0.0.0", 0), row("10.0.0.255", 0)}
		})}, []string{"10.0.0.255"}, nil},
		{"a host died", []memberPeers{n1, with(n2, func(m *memberPeers) { m.Ended = false })}, nil, []string{"last report"}},
		{"late", []memberPeers{n1, with(n2, func(m *memberPeers) { m.Since = ago(50 * time.Second) })}, nil, []string{"only from 11:59:1"}},
		{"too many, before the cut", []memberPeers{n1, with(n2, func(m *memberPeers) { m.Lost = ago(200 * time.Second) })}, nil, nil},
		{"too many", []memberPeers{n1, with(n2, func(m *memberPeers) { m.Lost = ago(20 * time.Second) })}, nil, []string{"more peers"}},
		{"too many for a message", []memberPeers{n1, with(n2, func(m *memberPeers) { m.More = true })}, nil, []string{"more peers"}},
		{"a member without a fence", []memberPeers{n1}, []string{"192.0.2.99"}, []string{"no fence"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := newPeerLog()
			for _, m := range test.told {
				log.add("h1", m, host, now)
			}
			l := c.lostInterval(s, noon, log, cut)
			var peers []string
			for _, p := range l.Peers {
				peers = append(peers, p.Address.String())
			}
			slices.Sort(peers)
			if !slices.Equal(peers, test.peers) || len(l.Gaps) != len(test.gaps) {
				t.Errorf("peers %q, gaps %v", peers, l.Gaps)
			}
			for i, g := range l.Gaps {
				if !strings.Contains(g.Text, test.gaps[min(i, len(test.gaps)-1)]) {
					t.Errorf("gap %q", g)
				}
			}
		})
	}
}

// TestPeerLogIsBounded: the oldest go, and that is not forgotten.
func TestPeerLogIsBounded(t *testing.T) {
	l := newPeerLog()
	a := netip.MustParseAddr("198.18.0.0")
	for i := range maxPeers + 1 {
		a = a.Next()
		l.add("h1", memberPeers{memberRef: memberRef{"g", "n1"}, Peers: []peerRow{{a, snapline.Instant(i)}}}, snapline.Instant(i), snapline.Instant(i))
	}
	if len(l.last) > maxPeers || l.last[peerKey{"n1", a}] == 0 || l.dropped == 0 {
		t.Errorf("%d are kept, the last at %d, until %d some were dropped", len(l.last), l.last[peerKey{"n1", a}], l.dropped)
	}
}
