package evidence

import (
	"slices"

	"github.com/snapline/snapline"
)

// prove settles the receipts before a cut that no sending before a cut
// explains: it looks for a proof that they were sent before it nevertheless.
func (m *matcher) prove() {
	m.doubt()
	m.cause = &causality{m, map[int32][]snapline.Instant{}}
	var progress map[flowKey]*progress
	for i := range m.receipts {
		r := &m.receipts[i]
		senders := m.senders(r)
		if m.outcomes[i] == unmatched && len(senders) == 0 {
			m.outcomes[i] = foreign
		}
		if !r.before {
			continue
		}
		switch m.outcomes[i] {
		case orphaned:
			// It may look like a packet sent after the cut and be an older one.
			if m.allAfter(r, m.witnesses(int32(i), senders)) {
				m.outcomes[i] = earlier
				m.unlink(int32(i))
			}
		case ambiguous:
			if m.allAfter(r, senders) {
				m.outcomes[i] = matched
			}
		case unmatched:
			if progress == nil {
				progress = m.progress()
			}
			if m.allAfter(r, senders) || len(senders) == 1 && progress[keyOf(r.Packet)].hasPassed(r.Packet) {
				m.outcomes[i] = earlier
			}
		}
	}
	m.links = slices.DeleteFunc(m.links, func(l link) bool { return l.send < 0 })
}

// doubt makes receipts ambiguous that match sendings before the cut only, when
// their identity is neither content nor unique: the one that they are of may
// have no record.
func (m *matcher) doubt() {
	type alike struct {
		identity
		member int32
	}
	seen := map[alike]int{}
	doubtful := func(i int) (identity, bool) {
		r := &m.receipts[i]
		if m.outcomes[i] != matched || !r.before || strong(r.Packet) {
			return identity{}, false
		}
		k, _ := identify(r.Packet)
		return k, !k.isContent(r.Packet)
	}
	for i := range m.receipts {
		if k, ok := doubtful(i); ok {
			seen[alike{k, m.receipts[i].member}]++
		}
	}
	for i := range m.receipts {
		k, ok := doubtful(i)
		if !ok {
			continue
		}
		if g := m.groups[k]; seen[alike{k, m.receipts[i].member}] > 1 || g != nil && len(g.sends) > 1 {
			m.outcomes[i] = ambiguous
		}
	}
}

// senders returns the other members that a receipt can come from.
func (m *matcher) senders(r *seen) []int32 {
	owners := m.owners[r.Source.Addr()]
	if !slices.Contains(owners, r.member) {
		return owners
	}
	return slices.DeleteFunc(slices.Clone(owners), func(o int32) bool { return o == r.member })
}

// allAfter reports whether all of the members' cuts are after the receipt.
func (m *matcher) allAfter(r *seen, members []int32) bool {
	for _, s := range members {
		if !m.cause.precedesCut(r, s) {
			return false
		}
	}
	return true
}

// witnesses adds the members whose sendings a receipt is linked to.
func (m *matcher) witnesses(receipt int32, members []int32) []int32 {
	all := slices.Clone(members)
	for _, l := range m.linksOf(receipt) {
		if s := m.sends[l.send].member; !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// linksOf returns the links of a receipt: they were made in the receipts' order.
func (m *matcher) linksOf(receipt int32) []link {
	from, _ := slices.BinarySearchFunc(m.links, receipt, func(l link, r int32) int { return int(l.receipt - r) })
	to := from
	for to < len(m.links) && m.links[to].receipt == receipt {
		to++
	}
	return m.links[from:to]
}

func (m *matcher) unlink(receipt int32) {
	l := m.linksOf(receipt)
	for i := range l {
		l[i].send = -1
	}
}

// progress is how far one direction of a TCP connection had come by what its
// sender is recorded to have sent before its cut.
type progress struct {
	ack, stamp       uint32
	hasAck, hasStamp bool
	restarted        bool // there was a SYN: numbers may begin anew
}

func keyOf(p *snapline.Packet) flowKey { return flowKey{p.Protocol, p.Source, p.Destination} }

func (m *matcher) progress() map[flowKey]*progress {
	all := map[flowKey]*progress{}
	for i := range m.sends {
		s := &m.sends[i]
		if !tcpWithHeader(s.Packet) {
			continue
		}
		f := all[keyOf(s.Packet)]
		if f == nil {
			f = &progress{}
			all[keyOf(s.Packet)] = f
		}
		f.restarted = f.restarted || s.Flags&flagSYN != 0
		if !s.before || s.Flags&flagRST != 0 {
			continue
		}
		if s.Timestamp != 0 && (!f.hasStamp || int32(s.Timestamp-f.stamp) > 0) {
			f.stamp, f.hasStamp = s.Timestamp, true
		}
		if s.Flags&flagACK != 0 && (!f.hasAck || int32(s.Acknowledgement-f.ack) > 0) {
			f.ack, f.hasAck = s.Acknowledgement, true
		}
	}
	return all
}

// hasPassed reports whether the packet is older than the furthest one that was
// sent before the cut. What a connection acknowledges and its timestamps never
// go back (RFC 9293 section 3.4, RFC 7323 section 4.3), in retransmissions neither.
func (f *progress) hasPassed(p *snapline.Packet) bool {
	if f == nil || f.restarted || !tcpWithHeader(p) || p.Flags&(flagSYN|flagRST) != 0 {
		return false
	}
	return f.hasStamp && p.Timestamp != 0 && int32(f.stamp-p.Timestamp) > 0 ||
		f.hasAck && p.Flags&flagACK != 0 && int32(f.ack-p.Acknowledgement) > 0
}
