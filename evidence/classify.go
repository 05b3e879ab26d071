package evidence

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// class is what a packet means for the cut. The greater of two classes is the
// one that a packet with several receivers, or several parts, has.
type class uint8

const (
	outside   class = iota // no packet between members
	dropped                // sent before the cut and received nowhere
	after                  // sent after the cut, and not received before it
	before                 // sent and received before the cut
	stray                  // received, and no recorded sending is its
	withheld               // by a shield
	inTransit              // sent before the cut, received after it
	orphan                 // sent after the cut, received before it
	classes
)

// arrow is one packet on its way from a member to another. Either end is -1
// where no gate has seen it.
type arrow struct {
	send, receipt int32
	from, to      int32 // members; -1 when not known
	class         class
}

// learn takes addresses that nobody has sent from for those of the members that
// received what was sent to them.
func (m *matcher) learn() {
	learned := map[netip.Addr][]int32{}
	for _, l := range m.links {
		a, to := m.sends[l.send].Destination.Addr(), m.receipts[l.receipt].member
		m.inside[a] = true
		if len(m.owners[a]) == 0 && !a.IsMulticast() && !slices.Contains(learned[a], to) {
			learned[a] = append(learned[a], to)
		}
	}
	maps.Copy(m.owners, learned)
}

// classify gives every packet between members its class and its arrows.
func (m *matcher) classify() {
	m.classes = make([]class, len(m.sends))
	slices.SortFunc(m.links, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.send, b.send), cmp.Compare(a.receipt, b.receipt))
	})
	// Receipts are numbered member by member, so those of one receiver are adjacent.
	links := m.links
	for i := range m.sends {
		for len(links) > 0 && links[0].send == int32(i) {
			to := m.receipts[links[0].receipt].member
			n := 1
			for n < len(links) && links[n].send == int32(i) && m.receipts[links[n].receipt].member == to {
				n++
			}
			a := m.judge(int32(i), links[:n])
			m.arrows = append(m.arrows, a)
			m.classes[i] = max(m.classes[i], a.class)
			links = links[n:]
		}
		if m.classes[i] == outside && m.isInside(m.sends[i].Destination.Addr()) {
			m.classes[i] = m.missing(int32(i))
		}
	}
	for i := range m.receipts {
		m.unsent(int32(i))
	}
}

// judge returns the arrow of one sending to one receiver.
func (m *matcher) judge(send int32, links []link) arrow {
	s := &m.sends[send]
	a := arrow{send: send, receipt: links[0].receipt, from: s.member, to: m.receipts[links[0].receipt].member}
	m.parts = m.parts[:0]
	late, held, orphans := int32(-1), int32(-1), int32(-1)
	fragmented := false
	for _, l := range links {
		r := &m.receipts[l.receipt]
		fragmented = fragmented || isFragment(r.Packet) != isFragment(s.Packet)
		switch {
		case r.before:
			p := partOf(r.Packet, s.Packet)
			m.parts = append(m.parts, p)
			if !s.before && m.outcomes[l.receipt] == orphaned {
				orphans = first(orphans, l.receipt)
			}
		case r.Withheld:
			held = first(held, l.receipt)
		default:
			late = first(late, l.receipt)
		}
	}
	switch {
	case orphans >= 0:
		a.class, a.receipt = orphan, orphans
	case s.before && complete(s.Packet, m.parts, fragmented):
		a.class = before
	case s.before && late >= 0:
		a.class, a.receipt = inTransit, late
	case late >= 0:
		a.class, a.receipt = after, late
	case held >= 0:
		a.class, a.receipt = withheld, held
	case s.before:
		a.class = before // the rest was lost
	default:
		a.class = after
	}
	return a
}

// first keeps a receipt that has been found already.
func first(found, receipt int32) int32 {
	if found >= 0 {
		return found
	}
	return receipt
}

// partOf returns which part of what was sent a receipt of it is.
func partOf(receipt, sent *snapline.Packet) span {
	if isFragment(receipt) != isFragment(sent) {
		_, s := identifyDatagram(receipt)
		if !isFragment(receipt) {
			_, s = identifyDatagram(sent) // it has been put together
		}
		return s
	}
	k, s := identify(receipt)
	if k.kind == segment {
		s = rebase(s, sent.Sequence)
	}
	return s
}

// complete reports whether parts make up all of what was sent.
func complete(sent *snapline.Packet, parts []span, fragmented bool) bool {
	k, s := identify(sent)
	switch {
	case fragmented:
		_, s = identifyDatagram(sent)
		if sent.Protocol == protocolTCP {
			s.to -= 40 // its header may be as short
		}
	case k.kind == segment:
		s = rebase(s, sent.Sequence)
	}
	return len(uncovered(s, parts)) == 0
}

// missing returns the class of a packet that no gate has received.
func (m *matcher) missing(send int32) class {
	s := &m.sends[send]
	a := arrow{send: send, receipt: -1, from: s.member, to: -1, class: after}
	if s.before {
		a.class = dropped
	}
	if o := m.owners[s.Destination.Addr()]; len(o) == 1 {
		if a.to = o[0]; a.to == s.member {
			return outside // to itself
		}
	}
	m.arrows = append(m.arrows, a)
	return a.class
}

// unsent makes the arrow of a receipt that is not linked to a sending.
func (m *matcher) unsent(receipt int32) {
	r := &m.receipts[receipt]
	a := arrow{send: -1, receipt: receipt, from: -1, to: r.member}
	switch o := m.outcomes[receipt]; {
	case o == matched || o == ambiguous || o == orphaned:
		return
	case r.Withheld:
		a.class = withheld
	case o == foreign:
		return
	case o == earlier:
		a.class = before
	default:
		a.class = stray
	}
	if o := m.senders(r); len(o) == 1 {
		a.from = o[0]
	}
	m.arrows = append(m.arrows, a)
}
