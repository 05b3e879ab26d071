package evidence_test

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// send lets a packet leave its VM, be marked and recorded, and be cut.
func (w *world) send(from *vm, to []*vm, at int64, p snapline.Packet) *sending {
	p.Marked = at >= from.markFrom && at < from.markTo
	s := &sending{Packet: p, from: from, to: to, at: at, recorded: at >= from.recordFrom && at < from.recordTo}
	w.sendings = append(w.sendings, s)
	w.content++
	for _, q := range w.cut(p) {
		s.pieces = append(s.pieces, &piece{Packet: q, of: s, content: w.contentOf(q), fate: map[*vm][]*arrival{}})
	}
	for _, v := range to {
		for _, q := range s.pieces {
			if w.IntN(12) == 0 && !w.options.reliable {
				continue // lost
			}
			for range 1 + w.IntN(20)/19 {
				delay := 20*microsecond + w.Int64N(200*microsecond)
				if w.IntN(10) == 0 {
					delay += w.Int64N(5 * millisecond)
				}
				a := &arrival{Packet: q.Packet, at: at + delay, to: v, pieces: []*piece{q}}
				q.fate[v] = append(q.fate[v], a)
				w.arrivals = append(w.arrivals, a)
			}
		}
	}
	return s
}

type content struct {
	snapline.Packet
	own uint64
}

func (w *world) contentOf(p snapline.Packet) content {
	p.Marked = false
	own := w.content
	if p.Protocol == 6 || p.Length <= snapline.DigestedBytes {
		own = 0 // all of its bytes are in the record
	}
	return content{p, own}
}

// cut is what the network makes of a packet: segments of TCP, fragments of UDP.
func (w *world) cut(p snapline.Packet) []snapline.Packet {
	if p.Protocol == 17 && p.Fragment == 0 && p.Length > 1472 {
		return w.fragments(p)
	}
	if p.Protocol != 6 || p.Length <= segmentSize || w.IntN(4) == 0 {
		return []snapline.Packet{p}
	}
	var all []snapline.Packet
	for at := uint32(0); at < p.Length; at += segmentSize {
		q := p
		q.Sequence += at
		q.Length = min(segmentSize, p.Length-at)
		q.ID += uint16(len(all))
		if !p.Source.Addr().Is4() {
			q.ID = 0
		}
		if at > 0 {
			q.Digest = w.Uint64()
			q.Flags &^= 0x80
		}
		if at+q.Length < p.Length {
			q.Flags &^= 0x09
		}
		all = append(all, q)
	}
	return all
}

// deliver lets the receivers' hosts put segments together, the gates judge and
// record them, and the clocks be read.
func (w *world) deliver() {
	slices.SortStableFunc(w.arrivals, func(a, b *arrival) int { return cmp.Compare(a.at, b.at) })
	type direction struct {
		to       *vm
		from, at netip.AddrPort
	}
	last := map[direction]*arrival{}
	var merged []*arrival
	for _, a := range w.arrivals {
		k := direction{a.to, a.Source, a.Destination}
		if l := last[k]; l != nil && w.IntN(2) == 0 && joins(l, a) {
			for _, q := range a.pieces {
				q.fate[a.to][slices.Index(q.fate[a.to], a)] = l
			}
			l.pieces = append(l.pieces, a.pieces...)
			l.Length += a.Length
			l.Flags |= a.Flags
			continue
		}
		last[k] = a
		merged = append(merged, a)
	}
	w.arrivals = merged
	for _, a := range merged {
		a.withheld = a.Marked && a.at >= a.to.shieldFrom && a.at < a.to.shieldTo
		a.recorded = a.at >= a.to.recordFrom && a.at < a.to.recordTo
	}
	hidden := w.vms[w.IntN(len(w.vms))]
	for _, s := range w.sendings {
		if w.options.hideSendings && s.from == hidden && s.at >= hidden.began || w.options.mute && s.from == w.victim {
			continue
		}
		if s.recorded {
			w.record(s.from, s.Packet, s.at, false, false)
		}
	}
	for _, a := range merged {
		if a.recorded {
			w.record(a.to, a.Packet, a.at, true, a.withheld)
		}
	}
}

func (w *world) record(v *vm, p snapline.Packet, at int64, inbound, withheld bool) {
	if w.options.loseRecords && w.IntN(50) == 0 {
		v.lost++
		return
	}
	p.At, p.Inbound, p.Withheld = v.clock(at), inbound, withheld
	v.packets = append(v.packets, p)
}

// joins reports whether receive offload would append b to a.
func joins(a, b *arrival) bool {
	return a.Protocol == 6 && a.Length > 0 && b.Length > 0 && a.Sequence+a.Length == b.Sequence && b.at-a.at < 60*microsecond &&
		a.Acknowledgement == b.Acknowledgement && a.Window == b.Window && a.Timestamp == b.Timestamp && a.Marked == b.Marked &&
		a.Flags&0x01 == 0 && b.Flags&0x80 == 0 && a.Length+b.Length < 60000 && len(a.pieces)+len(b.pieces) < 45
}
