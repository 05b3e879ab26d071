package rule

import (
	"bytes"
	"encoding/binary"

	"github.com/snapline/snapline"
)

// kind is what a frame carries, as far as a gate cares.
type kind int

const (
	other kind = iota // neither IP nor ARP, or IP without a whole header
	arp
	ipv4
	ipv6
)

const (
	// tagsMax is how many VLAN tags a frame may have in its bytes. The kernel may
	// hold one more outside of them.
	tagsMax = 2

	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeCTag = 0x8100 // IEEE 802.1Q
	typeIPv6 = 0x86dd
	typeSTag = 0x88a8 // IEEE 802.1ad

	protoICMPv6     = 58
	protoExperiment = 253 // RFC 3692
)

// parse says what a frame carries behind its VLAN tags, and for IP at which
// offset the IP header begins.
func parse(frame []byte) (kind, int) {
	at := 12
	for tags := 0; ; tags++ {
		if len(frame) < at+2 {
			return other, 0
		}
		t := binary.BigEndian.Uint16(frame[at:])
		at += 2
		switch t {
		case typeARP:
			return arp, at
		case typeIPv4:
			return parseIPv4(frame, at), at
		case typeIPv6:
			return parseIPv6(frame, at), at
		case typeCTag, typeSTag:
			if tags == tagsMax {
				return other, 0
			}
			at += 2
		default:
			return other, 0
		}
	}
}

func parseIPv4(frame []byte, at int) kind {
	if len(frame) < at+20 || frame[at]>>4 != 4 {
		return other
	}
	if n := int(frame[at]&0xf) * 4; n < 20 || len(frame) < at+n {
		return other
	}
	return ipv4
}

func parseIPv6(frame []byte, at int) kind {
	if len(frame) < at+40 || frame[at]>>4 != 6 {
		return other
	}
	return ipv6
}

func codepoint(frame []byte, k kind, at int) snapline.Codepoint {
	if k == ipv4 {
		return snapline.Codepoint(frame[at+1] >> 2)
	}
	return snapline.Codepoint(binary.BigEndian.Uint16(frame[at:]) >> 6 & 0x3f)
}

// setCodepoint returns a copy of the frame with another codepoint. The ECN bits
// stay; the IPv4 checksum is updated incrementally (RFC 1624, equation 3), so
// that a wrong one stays wrong.
func setCodepoint(frame []byte, k kind, at int, c snapline.Codepoint) []byte {
	frame = bytes.Clone(frame)
	before := binary.BigEndian.Uint16(frame[at:])
	if k == ipv6 {
		binary.BigEndian.PutUint16(frame[at:], before&^0x0fc0|uint16(c)<<6)
		return frame
	}
	after := before&^0xfc | uint16(c)<<2
	sum := uint32(^binary.BigEndian.Uint16(frame[at+10:])) + uint32(^before) + uint32(after)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(frame[at:], after)
	binary.BigEndian.PutUint16(frame[at+10:], ^uint16(sum))
	return frame
}

// discoversNeighbours recognises IPv6 neighbour discovery (RFC 4861: ICMPv6
// types 133 to 137, always with hop limit 255). Like ARP it carries no
// application's state.
func discoversNeighbours(frame []byte, k kind, at int) bool {
	return k == ipv6 && len(frame) > at+40 &&
		frame[at+6] == protoICMPv6 && frame[at+7] == 255 &&
		frame[at+40] >= 133 && frame[at+40] <= 137
}

// probe returns what a probe says, or nil when the frame is none.
func probe(frame []byte, k kind, at int) *Probe {
	const payload = 8 + 8 + 4
	if k != ipv4 || frame[at] != 0x45 || frame[at+9] != protoExperiment || len(frame) < at+20+payload {
		return nil
	}
	if binary.BigEndian.Uint16(frame[at+6:])&0x3fff != 0 { // a fragment
		return nil
	}
	p := frame[at+20:]
	if string(p[:8]) != "snapline" {
		return nil
	}
	return &Probe{
		Nonce:  binary.BigEndian.Uint64(p[8:]),
		Sender: binary.BigEndian.Uint32(p[16:]),
		Seen:   codepoint(frame, k, at),
	}
}
