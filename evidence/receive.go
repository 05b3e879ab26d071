package evidence

import (
	"slices"
	"sort"
)

// receive finds what a receipt is the receipt of.
func (m *matcher) receive(receipt int32) {
	r := &m.receipts[receipt]
	k, s := identify(r.Packet)
	s = m.look(k, s, r)
	m.exact = m.exact[:0]
	for _, e := range m.found {
		if sameCut(m.sends[e.send].Packet, r.Packet, s.from-e.from) {
			m.exact = append(m.exact, e)
		}
	}
	if len(m.exact) > 0 && m.accept(receipt, k, s, m.exact) {
		m.pair(r, m.exact)
		return
	}
	partial := slices.Clone(m.exact)
	if m.sameContent(receipt, k, s) || m.fragments && m.reassemble(receipt) {
		return
	}
	// Of what is merged from packets with and without a record, the rest stays unmatched.
	m.join(receipt, s, partial, func(bool) bool { return true })
}

// reassemble finds the packet that a fragment is of, or the fragments of a packet.
func (m *matcher) reassemble(receipt int32) bool {
	r := &m.receipts[receipt]
	if r.ID == 0 && !isFragment(r.Packet) {
		return false
	}
	k, s := identifyDatagram(r.Packet)
	s = m.look(k, s, r)
	// An ID comes again; what was cut is not the same as what it was cut from.
	m.exact = append(m.exact[:0], m.found...)
	m.exact = slices.DeleteFunc(m.exact, func(e entry) bool {
		return e.span == s && isFragment(m.sends[e.send].Packet) == isFragment(r.Packet)
	})
	return len(m.exact) > 0 && m.accept(receipt, k, s, m.exact)
}

// look leaves in found the sendings by other members that have the identity and
// overlap the span, and returns the span as the identity's group counts it.
func (m *matcher) look(k identity, s span, r *seen) span {
	m.found = m.found[:0]
	g := m.groups[k]
	if g == nil {
		return s
	}
	if k.kind == segment {
		s = rebase(s, g.origin)
	}
	from := sort.Search(len(g.sends), func(i int) bool { return g.sends[i].from > s.from-g.longest })
	for _, e := range g.sends[from:] {
		if e.from >= s.to {
			break
		}
		sent := &m.sends[e.send]
		if sent.member == r.member || !e.overlaps(s) {
			continue
		}
		// One part of the sequence numbers, and not the same bytes: a new connection.
		if k.kind == segment && e.span == s && sent.Length == r.Length && sent.Digest != r.Digest {
			continue
		}
		m.found = append(m.found, e)
	}
	return s
}

// accept decides on a receipt by sendings that it may be the receipt of, and
// reports whether they account for all of it.
func (m *matcher) accept(receipt int32, k identity, s span, candidates []entry) bool {
	r := &m.receipts[receipt]
	m.parts = m.parts[:0]
	after := false
	for _, e := range candidates {
		// What is not received before the cut may have been sent at any time.
		if !r.before || m.sends[e.send].before {
			m.parts = append(m.parts, e.span)
		} else {
			after = true
		}
	}
	rest := uncovered(s, m.parts)
	switch {
	case len(rest) == 0:
		m.outcomes[receipt] = matched
		if after && !k.isContent(r.Packet) {
			m.outcomes[receipt] = ambiguous
		}
		m.join(receipt, s, candidates, func(before bool) bool { return before || !r.before })
		return true
	case !after:
		return false
	}
	for _, part := range rest {
		for _, e := range candidates {
			if !m.sends[e.send].before && e.overlaps(part) {
				m.outcomes[receipt] = orphaned
			}
		}
	}
	if m.outcomes[receipt] != orphaned {
		return false
	}
	m.join(receipt, s, candidates, func(bool) bool { return true })
	return true
}

// sameContent explains a receipt by sendings that agree in everything but the
// IP ID, which some middlebox may have changed. Before the cut only sendings
// before the cut explain, and only where the identity is the whole content.
func (m *matcher) sameContent(receipt int32, k identity, s span) bool {
	r := &m.receipts[receipt]
	if len(m.found) == 0 || !k.isContent(r.Packet) {
		return false
	}
	candidates := slices.Clone(m.found)
	if r.before {
		candidates = slices.DeleteFunc(candidates, func(e entry) bool { return !m.sends[e.send].before })
	}
	m.parts = m.parts[:0]
	for _, e := range candidates {
		m.parts = append(m.parts, e.span)
	}
	if len(uncovered(s, m.parts)) > 0 {
		return false
	}
	m.outcomes[receipt] = matched
	m.join(receipt, s, candidates, func(bool) bool { return true })
	return true
}

// join links a receipt to the candidates; of those that cannot be told apart to
// one: the first that no receipt at this member has been linked to yet.
// Candidates come sorted, so that those lie side by side in the order of time.
func (m *matcher) join(receipt int32, s span, candidates []entry, eligible func(before bool) bool) {
	for len(candidates) > 0 {
		first := candidates[0]
		n := 1
		for n < len(candidates) && candidates[n].span == first.span && m.alike(candidates[n].send, first.send) {
			n++
		}
		if e, ok := m.choose(receipt, s, candidates[:n], eligible); ok {
			m.links = append(m.links, link{e.send, receipt})
		}
		candidates = candidates[n:]
	}
}

func (m *matcher) alike(a, b int32) bool {
	return m.sends[a].ID == m.sends[b].ID && m.sends[a].member == m.sends[b].member
}

func (m *matcher) choose(receipt int32, s span, alike []entry, eligible func(before bool) bool) (entry, bool) {
	last := -1
	for i, e := range alike {
		if eligible(m.sends[e.send].before) {
			last = i
		}
	}
	if last < 0 {
		return entry{}, false
	}
	if len(alike) == 1 || s.from > alike[0].from || s.to < alike[0].to {
		return alike[last], true
	}
	t := turn{alike[0].send, m.receipts[receipt].member}
	i := int(m.turns[t])
	if i > last {
		return alike[last], true // a duplicate, made by the network
	}
	m.turns[t]++
	return alike[i], true // before sendings come first: i ≤ last is eligible
}
