package evidence_test

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

func (w *world) traffic() {
	const from, to = -3 * millisecond, 26 * millisecond
	span := func() int64 { return from + w.Int64N(to-from) }
	for range 3 + w.IntN(5) {
		a, b := w.two()
		w.connection(a, b, from, to)
	}
	for range w.IntN(60) {
		a, b := w.two()
		w.datagram(a, b, span())
	}
	if !w.options.plain {
		for range 2 {
			a, b := w.two()
			length := []uint32{40, 500}[w.IntN(2)]
			for at := from + w.Int64N(millisecond); at < to; at += millisecond + w.Int64N(200) {
				w.beat(a, b, at, length)
			}
		}
		for range 10 { // somebody else's address
			a, b := w.two()
			p := w.udp(a, b)
			p.Source = netip.AddrPortFrom(w.vms[w.IntN(len(w.vms))].v4, 9)
			w.send(a, []*vm{b}, span(), p)
		}
	}
	for range 10 { // to everybody
		a, _ := w.two()
		p := w.udp(a, a)
		p.Destination = netip.MustParseAddrPort("239.1.1.1:7")
		var others []*vm
		for _, v := range w.vms {
			if v != a {
				others = append(others, v)
			}
		}
		w.send(a, others, span(), p)
	}
	for range 10 { // with the world outside
		a, _ := w.two()
		p := w.udp(a, a)
		p.Destination = netip.MustParseAddrPort("192.0.2.1:53")
		w.send(a, nil, span(), p)
		p.Source, p.Destination = p.Destination, p.Source
		at := span()
		w.arrivals = append(w.arrivals, &arrival{Packet: p, at: at, to: a})
	}
}

func (w *world) two() (*vm, *vm) {
	i := w.IntN(len(w.vms))
	j := (i + 1 + w.IntN(len(w.vms)-1)) % len(w.vms)
	return w.vms[i], w.vms[j]
}

// connection is one of TCP. Each direction sends data, acknowledgements, and
// again what was lost.
func (w *world) connection(a, b *vm, from, to int64) {
	six := w.IntN(3) == 0
	stamps := w.IntN(4) > 0
	type side struct {
		v                        *vm
		address                  netip.AddrPort
		next, sentBefore, stamp0 uint32
		window                   uint16
		cwr, ended               bool
	}
	mk := func(v *vm, port uint16) *side {
		s := &side{v: v, next: w.Uint32(), stamp0: w.Uint32(), window: uint16(w.Uint32())}
		if w.IntN(2) == 0 {
			s.next = uint32(-w.IntN(40000)) // about to wrap around
		}
		s.address = netip.AddrPortFrom(v.v4, port)
		if six {
			s.address = netip.AddrPortFrom(v.v6, port)
		}
		s.sentBefore = s.next
		return s
	}
	x, y := mk(a, uint16(1024+w.IntN(60000))), mk(b, uint16(1024+w.IntN(60000)))
	type turn struct {
		at    int64
		s, o  *side
		again *piece
	}
	var turns []turn
	for range 20 + w.IntN(80) {
		t := turn{at: from + w.Int64N(to-from), s: x, o: y}
		if w.IntN(2) == 0 {
			t.s, t.o = y, x
		}
		turns = append(turns, t)
	}
	byTime := func(a, b turn) int { return cmp.Compare(a.at, b.at) }
	slices.SortFunc(turns, byTime)
	for len(turns) > 0 {
		t := turns[0]
		turns = turns[1:]
		p := snapline.Packet{Protocol: 6, Source: t.s.address, Destination: t.o.address,
			Sequence: t.s.next, Acknowledgement: t.o.sentBefore, Flags: 0x10, Window: t.s.window}
		if w.IntN(3) == 0 || w.options.plain {
			t.s.window++
			p.Window = t.s.window
		}
		t.o.sentBefore = t.o.next // acknowledged by the next packet
		if stamps {
			p.Timestamp = t.s.stamp0 + uint32((t.at+100*millisecond)/millisecond)
		}
		switch {
		case t.again != nil:
			p.Sequence, p.Length, p.Digest = t.again.Sequence, t.again.Length, t.again.Digest
			p.Flags |= t.again.Flags & 0x01
		case t.s.ended || w.IntN(3) == 0: // an acknowledgement
		default:
			p.Length = uint32(1 + w.IntN(20000))
			if w.IntN(3) == 0 {
				p.Length = uint32(1 + w.IntN(segmentSize))
			}
			p.Flags |= 0x08
			if w.IntN(20) == 0 {
				p.Flags |= 0x01
				t.s.ended = true
			}
			if w.IntN(5) == 0 {
				p.Flags |= 0x80
			}
			p.Digest = w.Uint64()
			t.s.next += p.Length + uint32(p.Flags&1)
		}
		w.number(t.s.v, &p)
		s := w.send(t.s.v, []*vm{t.o.v}, t.at, p)
		for _, piece := range s.pieces {
			if piece.Length > 0 && (len(piece.fate[t.o.v]) == 0 || w.IntN(40) == 0) && t.at < to {
				turns = append(turns, turn{t.at + w.Int64N(8*millisecond) + 1, t.s, t.o, piece})
			}
		}
		slices.SortFunc(turns, byTime)
	}
}

// number gives an IPv4 packet its ID, and a large one as many as it has segments.
func (w *world) number(v *vm, p *snapline.Packet) {
	if !p.Source.Addr().Is4() {
		return
	}
	p.Fragment = 0x4000
	p.ID = v.id
	v.id += uint16(max(1, (p.Length+segmentSize-1)/segmentSize))
	if p.ID == 0 {
		p.ID, v.id = v.id, v.id+1
	}
}

func (w *world) udp(a, b *vm) snapline.Packet {
	w.content++
	p := snapline.Packet{Protocol: 17, Source: netip.AddrPortFrom(a.v4, 5000), Destination: netip.AddrPortFrom(b.v4, 5001),
		Length: uint32(1 + w.IntN(1400)), Digest: w.Uint64()}
	w.number(a, &p)
	p.Fragment = 0
	return p
}

func (w *world) datagram(a, b *vm, at int64) {
	p := w.udp(a, b)
	switch w.IntN(5) {
	case 0: // IPv6
		p.Source, p.Destination, p.ID = netip.AddrPortFrom(a.v6, 5000), netip.AddrPortFrom(b.v6, 5001), 0
	case 1: // an echo
		p.Protocol = 1
		p.Source, p.Destination = netip.AddrPortFrom(a.v4, 0), netip.AddrPortFrom(b.v4, 0)
	case 2: // cut by the sender
		for _, f := range w.fragments(p) {
			w.send(a, []*vm{b}, at, f)
			at += 1 + w.Int64N(100)
		}
		return
	case 3: // cut on the way: send does it
		p.Length = uint32(1500 + w.IntN(3000))
	}
	w.send(a, []*vm{b}, at, p)
}

// beat is a message that begins like all others of its kind and has no ID.
func (w *world) beat(a, b *vm, at int64, length uint32) {
	p := w.udp(a, b)
	p.ID, p.Fragment, p.Length, p.Digest = 0, 0x4000, length, w.heartbeat
	w.send(a, []*vm{b}, at, p)
}

func (w *world) fragments(p snapline.Packet) []snapline.Packet {
	total := int(p.Length) + 8
	var all []snapline.Packet
	for at := 0; at < total; at += 1480 {
		n := min(1480, total-at)
		f := p
		f.Fragment = uint16(at / 8)
		if at+n < total {
			f.Fragment |= 0x2000
		}
		f.Length, f.Digest = uint32(n), p.Digest+uint64(at)
		if at == 0 {
			f.Length -= 8
		} else {
			f.Source, f.Destination = netip.AddrPortFrom(p.Source.Addr(), 0), netip.AddrPortFrom(p.Destination.Addr(), 0)
		}
		all = append(all, f)
	}
	return all
}
