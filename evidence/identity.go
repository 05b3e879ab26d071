package evidence

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// TCP's flags, RFC 9293 section 3.1 and RFC 3168.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagPSH = 0x08
	flagACK = 0x10
	flagCWR = 0x80
)

// IP's protocol numbers.
const (
	protocolTCP = 6
	protocolUDP = 17
)

const (
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff
)

// identity is what all parts of one packet have in common, however it was cut
// or put together on its way.
//
// Segmentation copies TCP's acknowledgement, window, timestamps and flags into
// every segment, but for FIN and PSH (the last one only) and CWR (the first
// one only); Linux's receive offload joins only segments that agree in them. A
// retransmission acknowledges anew and has a timestamp of its own, so it is a
// different packet: its acknowledgement says something about its sender's state
// that the original did not say.
type identity struct {
	kind                 kind
	protocol, flags      uint8
	window, id           uint16
	source, destination  netip.AddrPort
	ack, stamp, position uint32
	digest               uint64
}

type kind uint8

const (
	segment  kind = iota // TCP that occupies sequence numbers
	pureTCP              // TCP that occupies none: acknowledgements, resets
	whole                // any other packet that is no fragment
	fragment             // of IPv4
	datagram             // the packet that fragments are of, known by its ID only
)

// span is a part of what has one identity: for a segment sequence numbers, for
// fragments bytes behind the IP header, otherwise [0, 1).
type span struct{ from, to int64 }

func (s span) overlaps(o span) bool { return s.from < o.to && o.from < s.to }

func isFragment(p *snapline.Packet) bool {
	return p.Fragment&(moreFragments|fragmentOffset) != 0
}

// tcpWithHeader reports whether p is TCP and has its header.
func tcpWithHeader(p *snapline.Packet) bool {
	return p.Protocol == protocolTCP && p.Fragment&fragmentOffset == 0
}

// identify returns the identity of a packet. A segment's span is that of its
// sequence numbers without their origin, see rebase.
func identify(p *snapline.Packet) (identity, span) {
	k := identity{protocol: p.Protocol, source: p.Source, destination: p.Destination}
	switch {
	case isFragment(p) && !tcpWithHeader(p):
		k.kind, k.id = fragment, p.ID
		k.position, k.ack, k.digest = uint32(p.Fragment), p.Length, p.Digest
		return k, span{0, 1}
	case p.Protocol == protocolTCP:
		k.flags = p.Flags &^ (flagFIN | flagPSH | flagCWR)
		k.window, k.ack, k.stamp = p.Window, p.Acknowledgement, p.Timestamp
		n := int64(p.Length) + int64(p.Flags&flagSYN)>>1 + int64(p.Flags&flagFIN)
		if n == 0 {
			k.kind, k.position = pureTCP, p.Sequence
			return k, span{0, 1}
		}
		k.kind = segment
		return k, span{int64(p.Sequence), int64(p.Sequence) + n}
	}
	k.kind, k.position, k.digest = whole, p.Length, p.Digest
	return k, span{0, 1}
}

// identifyDatagram returns by which bytes behind the IP header p would be a part
// of a fragmented packet. TCP's header is taken for as long as it may be.
func identifyDatagram(p *snapline.Packet) (identity, span) {
	k := identity{kind: datagram, protocol: p.Protocol, id: p.ID,
		source: netip.AddrPortFrom(p.Source.Addr(), 0), destination: netip.AddrPortFrom(p.Destination.Addr(), 0)}
	from := int64(p.Fragment&fragmentOffset) * 8
	n := int64(p.Length)
	if from == 0 {
		switch p.Protocol {
		case protocolTCP:
			n += 60
		case protocolUDP:
			n += 8
		}
	}
	return k, span{from, from + max(n, 1)}
}

// rebase gives a segment's span relative to the sequence number origin, right
// also where the numbers have wrapped around between them.
func rebase(s span, origin uint32) span {
	from := int64(int32(uint32(s.from) - origin))
	return span{from, from + s.to - s.from}
}

// sameCut reports whether the IP IDs of two packets with one identity allow that
// they are, or are parts of, the same: segmentation counts the ID up, or keeps
// it. Segments are hardly ever shorter than 64 bytes.
func sameCut(a, b *snapline.Packet, distance int64) bool {
	d := int64(int16(b.ID - a.ID))
	switch {
	case d == 0:
		return true
	case distance > 0:
		return d > 0 && d <= distance/64+1
	case distance < 0:
		return d < 0 && d >= distance/64-1
	}
	return false
}

// strong reports whether two packets recorded with p's identity are surely one:
// repeated messages without an IP ID can look the same.
func strong(p *snapline.Packet) bool {
	return p.Source.Addr().Is4() && p.ID != 0 || p.Protocol == protocolTCP && p.Length > 0
}

// isContent reports whether packets with p's identity surely have the same
// content. TCP's is known by its sequence numbers, others' by their digest.
func (k identity) isContent(p *snapline.Packet) bool {
	switch k.kind {
	case whole, fragment:
		return p.Length <= snapline.DigestedBytes
	}
	return true
}

// uncovered returns those parts of s that none of parts covers. It sorts parts.
func uncovered(s span, parts []span) []span {
	slices.SortFunc(parts, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var rest []span
	at := s.from
	for _, p := range parts {
		if p.from >= s.to {
			break
		}
		if p.from > at {
			rest = append(rest, span{at, p.from})
		}
		at = max(at, p.to)
	}
	if at < s.to {
		rest = append(rest, span{at, s.to})
	}
	return rest
}
