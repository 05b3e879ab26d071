package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// outsider is an address that no member has.
func outsider(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
}

// says sends a packet from a member's machine.
func (s *site) says(h snapline.HostName, m snapline.MemberName, to netip.Addr) {
	s.t.Helper()
	from := netip.AddrFrom4([4]byte{10, 0, 0, m[len(m)-1] - '0'})
	if passes, _ := s.fences[h].Send("tap-"+string(m), from, to); !passes {
		s.t.Errorf("%s on %s cannot send", m, h)
	}
}

func lostTo(l *snapline.LostInterval) (to []string) {
	for _, p := range l.Peers {
		to = append(to, string(p.Member)+" "+p.Address.String())
	}
	slices.Sort(to)
	return to
}

// Whom members have sent packets between snapshots is named when these are taken
// back: of the host that has died as far as it has told, of others to the end.
func TestLostIntervalNamesPeers(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.fenced()
	s.mustTake()
	s.says("h2", "n2", outsider(2))
	s.says("h2", "n2", netip.MustParseAddr("10.0.0.3"))  // n3's
	s.says("h3", "n3", netip.MustParseAddr("224.0.0.9")) // nobody's
	s.says("h3", "n3", netip.MustParseAddr("2001:db8::3"))
	s.told("h2", outsider(2))
	s.goOn()
	s.stopA["h2"]()
	s.says("h1", "n1", outsider(4))
	s.says("h2", "n2", outsider(5)) // nobody is told any more
	e := s.awaitEvent(snapline.EventRestored, 0)
	if got, want := lostTo(e.Lost), []string{"n1 192.0.2.4", "n2 192.0.2.2", "n3 2001:db8::3"}; !slices.Equal(got, want) {
		t.Errorf("peers %q, want %q", got, want)
	}
	if len(e.Lost.Gaps) != 1 || e.Lost.Gaps[0].Member != "n2" || !strings.Contains(e.Lost.Gaps[0].Text, "last report") {
		t.Errorf("gaps %v", e.Lost.Gaps)
	}
	for _, p := range e.Lost.Peers {
		if p.Last == nil || p.Last.Before(e.Lost.From) || p.Last.After(e.At) {
			t.Errorf("%+v of %+v", p, e.Lost)
		}
	}
	if !strings.Contains(e.Text, "192.0.2.4") || strings.Contains(e.Text, "192.0.2.5") {
		t.Errorf("the event says %q", e.Text)
	}
}

// fenced waits until the coordinator has been told of every member's packets.
func (s *site) fenced() {
	s.t.Helper()
	for i := 1; i <= 3; i++ {
		s.says(host(i), member(i), netip.MustParseAddr("224.0.0.1"))
		s.told(host(i), netip.MustParseAddr("224.0.0.1"))
	}
}

// told waits until the coordinator has been told of a packet: then the fence has
// room for others.
func (s *site) told(h snapline.HostName, to netip.Addr) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s has told of %s", h, to), func() bool {
		all, err := s.fences[h].Standing(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range all {
			ways, err := f.Ways()
			if err != nil {
				s.t.Fatal(err)
			}
			if slices.ContainsFunc(ways, func(w snapline.Way) bool { return w.To == to }) {
				return false
			}
		}
		return true
	})
}

// A coordinator that takes over is told again what living hosts know, also by an
// operator's restore.
func TestPeersOutliveTheCoordinator(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.fenced()
	s.mustTake()
	s.says("h1", "n1", outsider(1))
	s.told("h1", outsider(1))
	s.stopC()
	s.startCoordinator()
	s.waitOnline(3)
	s.calm()
	s.goOn()
	id := s.snapshots()[len(s.snapshots())-1].ID
	if op, _ := s.follow(s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id})); op.Error != nil {
		t.Fatal(op.Error)
	}
	e := s.awaitEvent(snapline.EventRestored, 0)
	if got, want := lostTo(e.Lost), []string{"n1 192.0.2.1"}; !slices.Equal(got, want) || len(e.Lost.Gaps) != 0 {
		t.Errorf("peers %q, want %q; gaps %v", got, want, e.Lost.Gaps)
	}
}

// More than can be remembered is said to be more.
func TestTooManyPeers(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	to := netip.MustParseAddr("198.18.0.1")
	for range snapline.MaxWays + 1 {
		to = to.Next()
		s.says("h1", "n1", to)
	}
	s.told("h1", to)
	if op, _ := s.follow(s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: "g-1"})); op.Error != nil {
		t.Fatal(op.Error)
	}
	l := s.awaitEvent(snapline.EventRestored, 0).Lost
	if len(l.Peers) != 128 || !slices.ContainsFunc(l.Gaps, func(r snapline.Reason) bool { return r.Member == "n1" && strings.Contains(r.Text, "more peers") }) ||
		!slices.ContainsFunc(l.Gaps, func(r snapline.Reason) bool { return strings.Contains(r.Text, "more are known") }) {
		t.Errorf("%d peers, gaps %v", len(l.Peers), l.Gaps)
	}
}

// What an agent says of members that are elsewhere is not heard, and what it says
// is bounded.
func TestPeersAreBounded(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	report := func(member string, rows int) []byte {
		b := &strings.Builder{}
		fmt.Fprintf(b, `{"host":"h2","now":1000,"members":[{"group":"g","member":%q,"since":0,"peers":[`, member)
		for i := range rows {
			fmt.Fprintf(b, `{"a":"198.18.%d.%d","l":%d},`, i>>8&255, i&255, 1000+i)
		}
		return []byte(b.String() + `{"a":"192.0.2.7","l":999}]}]}`)
	}
	for _, c := range []struct {
		name, from, member string
		rows               int
		heard              bool
	}{
		{"as it should", "h2", "n2", 1, true},
		{"a member of another host", "h2", "n1", 1, false},
		{"another host", "h1", "n2", 1, false},
		{"too long", "h2", "n2", 20_000, false},
		{"many rows", "h2", "n2", 5000, true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		answer, err := s.bus.As(snapline.ToAgent(snapline.HostName(c.from))).Ask(ctx, "coordinator.peers", report(c.member, c.rows))
		cancel()
		var told struct{ Heard []any }
		if err == nil {
			err = json.Unmarshal(answer, &told)
		}
		if err != nil || (len(told.Heard) == 1) != c.heard {
			t.Errorf("%s: %s, %v", c.name, answer, err)
		}
	}
}
