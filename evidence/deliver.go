package evidence

import (
	"encoding/binary"
	"net/netip"

	"github.com/snapline/snapline"
)

// ordinary is the largest Ethernet frame that every network takes, in bytes, with
// one VLAN tag. Larger ones of TCP are what offloading has put together.
const ordinary = 1518

// ipAt returns where the IP packet of an Ethernet frame begins, and its version; 0
// if it has none.
func ipAt(f []byte) (at int, version byte) {
	at = 14
	for tags := 0; tags <= 3 && at <= len(f); tags++ {
		switch binary.BigEndian.Uint16(f[at-2:]) {
		case 0x8100, 0x88a8:
			at += 4
			continue
		case 0x0800:
			if len(f) >= at+20 && f[at]>>4 == 4 {
				return at, 4
			}
		case 0x86dd:
			if len(f) >= at+40 && f[at]>>4 == 6 {
				return at, 6
			}
		}
		break
	}
	return 0, 0
}

// holds reports whether a frame is whole and is the one that a record is of. Two
// that pass at the same moment have the same number.
func holds(f *Frame, p *snapline.Packet) bool {
	if f.Length > len(f.Data) {
		return false
	}
	at, version := ipAt(f.Data)
	ip := f.Data[at:]
	switch version {
	case 4:
		return ip[9] == p.Protocol && netip.AddrFrom4([4]byte(ip[12:])) == p.Source.Addr() && netip.AddrFrom4([4]byte(ip[16:])) == p.Destination.Addr() &&
			binary.BigEndian.Uint16(ip[4:]) == p.ID && binary.BigEndian.Uint16(ip[6:]) == p.Fragment
	case 6:
		return ip[6] == p.Protocol && netip.AddrFrom16([16]byte(ip[8:])) == p.Source.Addr() && netip.AddrFrom16([16]byte(ip[24:])) == p.Destination.Addr()
	}
	return false
}

// Bytes returns the frame as it has to be given to a network card that checks it.
// It was recorded between virtual machines that may leave their checksums to each
// other: the field then holds the sum of the pseudo header only, and is completed.
// A wrong one stays wrong. A codepoint of the gates' becomes zero; which it was
// is not known.
func (d Delivery) Bytes() []byte {
	f := append([]byte(nil), d.Frame.Data...)
	at, version := ipAt(f)
	if version == 0 {
		return f
	}
	ip := f[at:]
	if d.Marked {
		unmark(ip, version)
	}
	completeChecksum(ip, version)
	return f
}

func unmark(ip []byte, version byte) {
	if version == 6 {
		ip[0] &= 0xf0
		ip[1] &= 0x3f
		return
	}
	n := int(ip[0]&0xf) * 4
	if n < 20 || n > len(ip) {
		return
	}
	ip[1] &= 0x03
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip[:n]))
}

// completeChecksum does what was left to a network card, for UDP and TCP.
func completeChecksum(ip []byte, version byte) {
	var protocol byte
	var header, total int
	var addresses []byte
	if version == 4 {
		if binary.BigEndian.Uint16(ip[6:])&(moreFragments|fragmentOffset) != 0 {
			return
		}
		protocol, header, total, addresses = ip[9], int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:])), ip[12:20]
	} else {
		protocol, header, total, addresses = ip[6], 40, 40+int(binary.BigEndian.Uint16(ip[4:])), ip[8:40]
	}
	at := map[byte]int{protocolTCP: 16, protocolUDP: 6}[protocol]
	if at == 0 || header < 20 || total > len(ip) || header+at+2 > total {
		return
	}
	segment := ip[header:total]
	pseudo := sum(sum(0, addresses), []byte{0, protocol, byte(len(segment) >> 8), byte(len(segment))})
	if binary.BigEndian.Uint16(segment[at:]) != pseudo {
		return
	}
	// The field holds the pseudo header's sum, so this is the sum of both.
	check := ^sum(0, segment)
	if check == 0 && protocol == protocolUDP {
		check = 0xffff // zero says that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(segment[at:], check)
}

// sum adds up words as the Internet's checksum does (RFC 1071).
func sum(start uint16, b []byte) uint16 {
	s := uint32(start)
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
