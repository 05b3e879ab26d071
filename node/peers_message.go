package node

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// toPeers is where agents report whom their protected members have sent packets.
const toPeers snapline.Address = "coordinator.peers"

// peerReport is an agent's report. Instants are of its host's clock, on which Now
// is when it was made.
type peerReport struct {
	Host    snapline.HostName `json:"host"`
	Now     snapline.Instant  `json:"now"`
	Members []memberPeers     `json:"members"`
}

// peersTold answers it. Of members that are not in Heard it has to be said again:
// where they are is being changed.
type peersTold struct {
	Term  uint64      `json:"term"`
	Heard []memberRef `json:"heard"`
}

// memberPeers is one machine's part.
type memberPeers struct {
	memberRef
	// Since is from when on the agent knows everything, if nothing was Lost since.
	Since snapline.Instant `json:"since"`
	// Own are addresses that the machine sends from.
	Own   []netip.Addr `json:"own,omitempty"`
	Peers []peerRow    `json:"peers,omitempty"`
	// Lost is when something may last have found no room.
	Lost snapline.Instant `json:"lost,omitempty"`
	// More: there are others, for which the message had no room.
	More bool `json:"more,omitempty"`
	// Ended: the machine has.
	Ended bool `json:"ended,omitempty"`
}

// peerRow is when the last packet left for an address.
type peerRow struct {
	Address netip.Addr       `json:"a"`
	Last    snapline.Instant `json:"l"`
}

// peersQuestion asks for what a host's members had sent before they ended.
type peersQuestion struct {
	Group snapline.GroupName `json:"group"`
	// AgeNS is how old it may be.
	AgeNS int64 `json:"age_ns"`
}

// rows are those that are wanted, the latest first, as far as there is room for.
func (t *peerTable) rows(k memberKey, want func(seenPeer) bool, room *int) memberPeers {
	m := memberPeers{memberRef: memberRef{k.group, k.member}, Since: t.since, Lost: t.lost}
	m.Own = slices.SortedFunc(maps.Keys(t.own), netip.Addr.Compare)
	for a, p := range t.peers {
		if want(p) {
			m.Peers = append(m.Peers, peerRow{a, p.last})
		}
	}
	slices.SortFunc(m.Peers, func(a, b peerRow) int {
		return cmp.Or(cmp.Compare(b.Last, a.Last), a.Address.Compare(b.Address))
	})
	if len(m.Peers) > *room {
		m.Peers, m.More = m.Peers[:*room], true
	}
	*room -= len(m.Peers)
	return m
}

// isHost reports whether an address is some host's, as opposed to a group's,
// everybody's, or nobody's.
func isHost(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != everybody
}

var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// oldest are the keys that have to go when there are more than n: a quarter, so
// that it is not done for each.
func oldest[K comparable, V any](m map[K]V, n int, at func(V) snapline.Instant) []K {
	if len(m) <= n {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Compare(at(m[a]), at(m[b])) })
	return keys[:len(m)-n+n/4]
}
