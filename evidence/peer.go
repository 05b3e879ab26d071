package evidence

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// Peer is an address outside the group that a member exchanged packets with. A
// restore does not take back what it knows.
type Peer struct {
	Member  snapline.MemberName `json:"member"`
	Address netip.Addr          `json:"address"`
	// PacketsIn and BytesIn reached the member, or would have without its shield;
	// bytes are of payload.
	PacketsIn  uint64 `json:"packets_in"`
	BytesIn    uint64 `json:"bytes_in"`
	PacketsOut uint64 `json:"packets_out"`
	BytesOut   uint64 `json:"bytes_out"`
}

// peers returns the addresses that no member sends from, is known to have, or has
// received a member's packet at, in the order of members and addresses.
func (m *matcher) peers() []Peer {
	type key struct {
		member  int32
		address netip.Addr
	}
	at := map[key]int{}
	var peers []Peer
	peer := func(member int32, a netip.Addr) *Peer {
		if m.isInside(a) || a.IsUnspecified() {
			return nil
		}
		k := key{member, a}
		i, ok := at[k]
		if !ok {
			i = len(peers)
			at[k] = i
			peers = append(peers, Peer{Member: m.members[member].Name, Address: a})
		}
		return &peers[i]
	}
	for _, s := range m.sends {
		if p := peer(s.member, s.Destination.Addr()); p != nil {
			p.PacketsOut++
			p.BytesOut += uint64(s.Length)
		}
	}
	for _, r := range m.receipts {
		if p := peer(r.member, r.Source.Addr()); p != nil {
			p.PacketsIn++
			p.BytesIn += uint64(r.Length)
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), a.Address.Compare(b.Address))
	})
	return peers
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// isInside reports whether members may receive what is sent to the address.
func (m *matcher) isInside(a netip.Addr) bool {
	return m.inside[a] || a.IsMulticast() || a == broadcast
}
