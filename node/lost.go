package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/snapline/snapline"
)

// lostInterval is what bringing a snapshot back takes away, with the peers
// outside the group that may know more of it than the members then do.
func lostInterval(s snapline.Snapshot, until time.Time) *snapline.LostInterval {
	l := &snapline.LostInterval{From: s.TakenAt, To: until, PeersFrom: "nothing was recorded: no gate was up"}
	if s.Verdict != nil {
		l.Peers = s.Verdict.Peers
		l.PeersFrom = "the packets recorded while " + string(s.ID) + " was taken; between snapshots no gate is up, so others may have seen it too"
	}
	return l
}

// describeLost is it on one line.
func describeLost(l *snapline.LostInterval) string {
	var addresses []netip.Addr
	for _, p := range l.Peers {
		if !slices.Contains(addresses, p.Address) {
			addresses = append(addresses, p.Address)
		}
	}
	text := fmt.Sprintf("what the group did in %s is taken back", l.To.Sub(l.From).Round(100*time.Millisecond))
	switch n := len(addresses); n {
	case 0:
		return text + "; no address outside the group is known to have seen it"
	case 1:
		return fmt.Sprintf("%s, but not what 1 address outside the group may have seen: %s", text, addresses[0])
	default:
		return fmt.Sprintf("%s, but not what %d addresses outside the group may have seen: %v", text, n, addresses[:min(n, 4)])
	}
}
