package node

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// peerSlack is how long before the cut a packet may have left for its receiver to
// be named all the same: the snapshot may be of another coordinator, whose clock
// showed another time of day.
const peerSlack = time.Second

// lostInterval is what bringing a snapshot back takes away, with the peers
// outside the group that may know more of it than the members then do. sent is
// what is known of the members' packets until they were stopped, nil when nothing
// is, and cut when the snapshot was, on the same clock.
func (c *Coordinator) lostInterval(s snapline.Snapshot, until time.Time, sent *peerLog, cut snapline.Instant) *snapline.LostInterval {
	l := &snapline.LostInterval{From: s.TakenAt, To: until}
	if sent == nil || len(sent.told) == 0 {
		l.PeersFrom = "nothing was recorded: no gate was up"
		if s.Verdict != nil {
			l.Peers = atCut(s, func(snapline.MemberName) bool { return true })
			l.PeersFrom = "the packets recorded while " + string(s.ID) + " was taken; between snapshots no gate is up, so others may have seen it too"
		}
		return l
	}
	from := cut.Add(-peerSlack)
	wall := func(at snapline.Instant) time.Time { return c.Clock.Wall().Add(at.Sub(c.Clock.Now())) }
	l.PeersFrom = "what left the members' taps since the cut, as their hosts told every second"
	inside := map[netip.Addr]bool{}
	for _, a := range addresses(s).IPs {
		inside[a] = true
	}
	for k, last := range sent.last {
		if last >= from && !inside[k.address] && !sent.own[k.address] {
			at := wall(last)
			l.Peers = append(l.Peers, snapline.LostPeer{Member: k.member, Address: k.address, Last: &at})
		}
	}
	slices.SortFunc(l.Peers, func(a, b snapline.LostPeer) int {
		return cmp.Or(b.Last.Compare(*a.Last), cmp.Compare(a.Member, b.Member), a.Address.Compare(b.Address))
	})
	if n := len(l.Peers) - keptPeers; n > 0 {
		l.Peers = l.Peers[:keptPeers]
		l.Gaps = append(l.Gaps, snapline.Reason{Text: fmt.Sprintf("%d more are known", n)})
	}
	if sent.dropped >= from {
		l.Gaps = append(l.Gaps, snapline.Reason{Text: "there were more peers than are remembered"})
	}
	gap := func(m snapline.MemberName, h snapline.HostName, format string, args ...any) {
		l.Gaps = append(l.Gaps, snapline.Reason{Member: m, Host: h, Text: fmt.Sprintf(format, args...)})
	}
	for _, m := range s.Members {
		t, known := sent.told[m.Name]
		if !known {
			gap(m.Name, "", "what it sent is not known but for the moments of the cut: no fence of it has been told of")
			l.Peers = append(l.Peers, atCut(s, func(n snapline.MemberName) bool { return n == m.Name })...)
			continue
		}
		if t.since > cut {
			gap(m.Name, t.host, "what it sent is known only from %s on", wall(t.since).Format("15:04:05 UTC"))
		}
		if !t.ended {
			gap(m.Name, t.host, "what it sent after that host's last report, which came at %s, is not known", wall(t.at).Format("15:04:05.0 UTC"))
		}
		if t.more || t.lost >= from {
			gap(m.Name, t.host, "it has sent to more peers than could be remembered")
		}
	}
	return l
}

// atCut are the peers that were seen while the cut was made.
func atCut(s snapline.Snapshot, of func(snapline.MemberName) bool) (peers []snapline.LostPeer) {
	if s.Verdict == nil {
		return nil
	}
	for _, p := range s.Verdict.Peers {
		if of(p.Member) {
			peers = append(peers, snapline.LostPeer{Member: p.Member, Address: p.Address})
		}
	}
	return peers
}

// describeLost is it on one line.
func describeLost(l *snapline.LostInterval) string {
	var addresses []string
	for _, p := range l.Peers {
		if a := p.Address.String(); !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	text := fmt.Sprintf("what the group did in %s is taken back", l.To.Sub(l.From).Round(100*time.Millisecond))
	switch n := len(addresses); {
	case n == 0:
		return text + "; no address outside the group is known to have seen it"
	case n == 1:
		return fmt.Sprintf("%s, but not what 1 address outside the group may have seen: %s", text, addresses[0])
	case n > 4:
		return fmt.Sprintf("%s, but not what %d addresses outside the group may have seen: %s and %d more", text, n, strings.Join(addresses[:4], ", "), n-4)
	default:
		return fmt.Sprintf("%s, but not what %d addresses outside the group may have seen: %s", text, n, strings.Join(addresses, ", "))
	}
}
