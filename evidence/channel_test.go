package evidence_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// frameOf makes an Ethernet frame of a packet's header, filled up with zeros.
func frameOf(p snapline.Packet) []byte {
	f := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	if p.Source.Addr().Is4() {
		ip := make([]byte, 20)
		ip[0], ip[1], ip[8], ip[9] = 0x45, 0x2b<<2|1, 64, p.Protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(28+p.Length))
		binary.BigEndian.PutUint16(ip[4:], p.ID)
		binary.BigEndian.PutUint16(ip[6:], p.Fragment)
		from, to := p.Source.Addr().As4(), p.Destination.Addr().As4()
		copy(ip[12:], from[:])
		copy(ip[16:], to[:])
		f = append(append(f, 8, 0), ip...)
	} else {
		ip := make([]byte, 40)
		ip[0], ip[6] = 0x60, p.Protocol
		binary.BigEndian.PutUint16(ip[4:], uint16(8+p.Length))
		from, to := p.Source.Addr().As16(), p.Destination.Addr().As16()
		copy(ip[8:], from[:])
		copy(ip[24:], to[:])
		f = append(append(f, 0x86, 0xdd), ip...)
	}
	return append(f, make([]byte, 8+p.Length)...)
}

// still has both machines stand still from 104 to 106, and n2's queue seen empty
// at 98.
func (w *pairOf) still() *pairOf {
	for _, t := range []*snapline.Trace{&w.n1, &w.n2} {
		t.Paused, t.Resumed = t.CutBegan+4, t.CutBegan+6
	}
	return w
}

// channel is what is found when n2's gate has kept all that it could, but for
// those with an ID in not.
func (w *pairOf) channel(not ...uint16) evidence.Channel {
	n2 := evidence.Member{Name: "n2", Addresses: []netip.Addr{two.Addr()}, Drained: 1098 + ahead}
	for _, p := range w.n2.Packets {
		if p.Inbound && !slices.Contains(not, p.ID) {
			n2.Kept = append(n2.Kept, evidence.Frame{Member: "n2", ID: uint64(p.At), Data: frameOf(p)})
		}
	}
	return evidence.Match([]evidence.Member{{Name: "n1", Addresses: []netip.Addr{one.Addr()}}, n2}, []snapline.Trace{w.n1, w.n2}).Channel
}

func long(p snapline.Packet) snapline.Packet {
	p.Length = 500
	return p
}

// part is a fragment of 1480 bytes, the first of two or the second.
func part(at snapline.Instant, id uint16, last bool) snapline.Packet {
	p := udp(at, id, 7)
	p.Length, p.Fragment = 1472, 0x2000
	if last {
		p.Length, p.Digest, p.Fragment = 300, 8, 1480/8
		p.Source, p.Destination = netip.AddrPortFrom(one.Addr(), 0), netip.AddrPortFrom(two.Addr(), 0)
	}
	return p
}

// armed has n1 armed at 60.
func (w *pairOf) armed() evidence.Channel {
	return evidence.Match([]evidence.Member{{Name: "n1", Armed: 1060}, {Name: "n2", Addresses: []netip.Addr{two.Addr()}}}, []snapline.Trace{w.n1, w.n2}).Channel
}

func TestChannel(t *testing.T) {
	const (
		nothing = "channel: 0 packets under way at the cut"
		one1    = "channel: 1 packet under way at the cut, all kept"
	)
	group := netip.MustParseAddrPort("239.1.1.1:7")
	toGroup := func(p snapline.Packet) snapline.Packet { p.Destination = group; return p }
	fromOutside := func(p snapline.Packet) snapline.Packet { p.Source = outside; return p }
	lost := newPair().still().sent(udp(50, 1, 7)).received(udp(120, 1, 7))
	lost.n1.Lost = 1
	multicast := newPair().still().sent(toGroup(udp(50, 1, 7)), toGroup(udp(51, 2, 8)))
	heard := toGroup(udp(120, 1, 7))
	heard.At += ahead
	heard.Inbound = true
	multicast.n2.Packets = append(multicast.n2.Packets, heard)
	for _, c := range []struct {
		name    string
		channel evidence.Channel
		want    string // the text, and the reasons
	}{
		{"nothing was sent", newPair().still().channel(), nothing},
		{"received before the cut", newPair().still().sent(udp(50, 1, 7)).received(udp(90, 1, 7)).channel(), nothing},
		{"in transit", newPair().still().sent(udp(50, 1, 7)).received(udp(120, 1, 7)).channel(), one1},
		{"received while the VM stood still", newPair().still().sent(udp(50, 1, 7)).received(udp(105, 1, 7)).channel(), one1},
		{"sent while it was about to stand still, and withheld", newPair().still().sent(udp(103, 1, 7)).received(withheld(udp(60, 1, 7))).channel(), one1},
		{"sent after the cut, and withheld", newPair().still().sent(udp(106, 1, 7)).received(withheld(udp(90, 1, 7))).channel(), nothing},
		{"sent and received after the cut", newPair().still().sent(udp(107, 1, 7)).received(udp(130, 1, 7)).channel(), nothing},
		{"sent while nothing can be sent", newPair().still().sent(udp(105, 1, 7)).received(udp(120, 1, 7)).channel(),
			nothing + "; not complete; 1 packet of which it is not certain on which side of the cut they are"},
		{"may have waited in the queue", newPair().still().sent(udp(50, 1, 7)).received(udp(100, 1, 7)).channel(),
			nothing + "; not complete; 1 packet of which it is not certain on which side of the cut they are"},
		{"nobody knows when the VM stood still", newPair().sent(udp(50, 1, 7), udp(99, 2, 7), udp(99, 3, 7)).received(udp(90, 1, 7), udp(105, 2, 7), udp(110, 3, 7)).channel(),
			one1 + "; not complete; 2 packets of which it is not certain on which side of the cut they are"},
		{"not kept", newPair().still().sent(udp(50, 1, 7), udp(51, 2, 8)).received(udp(120, 1, 7), udp(121, 2, 8)).channel(1),
			"channel: 2 packets under way at the cut, 1 kept; not complete; 1 packet in transit whose content could not be kept"},
		{"never arrived", newPair().still().sent(udp(50, 1, 7)).channel(),
			nothing + "; not complete; 1 packet sent before the cut and not seen to arrive"},
		{"sent before n2 recorded, perhaps", newPair().still().sent(udp(50, 1, 7)).armed(), nothing},
		{"sent when n2 recorded", newPair().still().sent(udp(60, 1, 7)).armed(),
			nothing + "; not complete; 1 packet sent before the cut and not seen to arrive"},
		{"sent after the cut and never arrived", newPair().still().sent(udp(120, 1, 7)).channel(), nothing},
		{"no record of sending", newPair().still().received(udp(120, 1, 7)).channel(),
			nothing + "; not complete; 1 packet received after the cut without a record of sending"},
		{"the sender's gate is down", newPair().still().received(udp(110+100_000_000, 1, 7)).channel(), nothing},
		{"from outside", newPair().still().received(fromOutside(udp(120, 1, 7))).channel(), nothing},
		{"a copy of what was received", newPair().still().sent(udp(50, 1, 7)).received(udp(90, 1, 7), udp(120, 1, 7)).channel(), nothing},
		{"two copies in transit", newPair().still().sent(udp(50, 1, 7)).received(udp(119, 1, 7), udp(120, 1, 7)).channel(), one1},
		{"withheld, and a copy that was not", newPair().still().sent(udp(103, 1, 7)).received(withheld(udp(60, 1, 7)), udp(120, 1, 7)).channel(), one1},
		{"looks like one sent after", newPair().still().sent(udp(50, 0, 7), udp(120, 0, 7)).received(udp(130, 0, 7), udp(140, 0, 7)).channel(),
			nothing + "; not complete; 2 packets of which it is not certain on which side of the cut they are"},
		{"records lost", lost.channel(), one1 + "; not complete; 1 packet without a record"},
		{"to a group, and one that nobody heard", multicast.channel(), one1},
		{"TCP sends again", newPair().still().sent(tcp(50, 1, 500, 100, 1, 5), tcp(51, 2, 600, 100, 1, 5), tcp(52, 3, 700, 100, 1, 5), tcp(105, 4, 800, 100, 1, 5)).
			received(tcp(120, 1, 500, 100, 1, 5), tcp(121, 2, 600, 100, 1, 5), tcp(122, 4, 800, 100, 1, 5)).channel(2),
			"channel: 2 packets under way at the cut, 1 kept, TCP sends the others again"},
		{"one fragment of two", newPair().still().sent(part(50, 1, false), part(51, 1, true)).received(part(90, 1, false), part(120, 1, true)).channel(), one1},
		{"a fragment is missing", newPair().still().sent(part(50, 1, false), part(51, 1, true)).received(part(120, 1, false)).channel(),
			one1 + "; not complete; 1 packet sent before the cut and not seen to arrive"},
		{"long ones with IDs of their own", newPair().still().sent(long(udp(50, 1, 7)), long(udp(120, 2, 7))).received(long(udp(119, 1, 7)), long(udp(130, 2, 7))).channel(), one1},
	} {
		got := strings.Join(append([]string{c.channel.Text}, c.channel.Reasons...), "; ")
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if c.channel.Complete != (len(c.channel.Reasons) == 0) || c.channel.Kept != len(c.channel.Deliveries) {
			t.Errorf("%s: %+v", c.name, c.channel)
		}
	}
}

// TestChannelWithoutATrace: what a member has sent is not known, so nothing is complete.
func TestChannelWithoutATrace(t *testing.T) {
	r := evidence.Match([]evidence.Member{{Name: "n1"}, {Name: "n2"}}, []snapline.Trace{newPair().still().n2})
	if r.Channel.Complete {
		t.Error(r.Channel.Text)
	}
	if s := evidence.Match([]evidence.Member{{Name: "n1"}}, nil).Summary(); s.Channel != nil {
		t.Errorf("nothing was recorded: %+v", s.Channel)
	}
}

// TestDeliveryBytes takes the gates' codepoint away and completes what was left to
// a network card.
func TestDeliveryBytes(t *testing.T) {
	packet := udp(0, 5, 7)
	packet.Length = 3
	frame := frameOf(packet)
	ip := frame[14:]
	segment := ip[20:]
	copy(segment, []byte{0x04, 0x57, 0x08, 0xae, 0, 11, 0, 0, 'a', 'b', 'c'})
	binary.BigEndian.PutUint16(ip[2:], 31)
	pseudo := checksum(ip[12:20], []byte{0, 17, 0, 11})
	binary.BigEndian.PutUint16(segment[6:], pseudo)
	got := evidence.Delivery{Frame: evidence.Frame{Data: frame}, Marked: true}.Bytes()
	if got[15] != 1 { // congestion notification stays
		t.Errorf("codepoint and ECN are %#x", got[15])
	}
	if s := checksum(got[14:34]); s != 0xffff {
		t.Errorf("the header adds up to %#x", s)
	}
	if s := checksum(got[26:34], []byte{0, 17, 0, 11}, got[34:]); s != 0xffff {
		t.Errorf("the datagram adds up to %#x", s)
	}
	for name, value := range map[string]uint16{"no checksum": 0, "a wrong one": pseudo + 1} {
		binary.BigEndian.PutUint16(segment[6:], value)
		got := evidence.Delivery{Frame: evidence.Frame{Data: frame}}.Bytes()
		if binary.BigEndian.Uint16(got[40:]) != value || got[15] != frame[15] {
			t.Errorf("%s did not stay: % x", name, got)
		}
	}
	six := udp(0, 0, 7)
	six.Source, six.Destination = netip.MustParseAddrPort("[fd00::1]:1"), netip.MustParseAddrPort("[fd00::2]:2")
	frame = frameOf(six)
	frame[14], frame[15] = 0x6a, 0xd0 // 0x2b, no ECN, flow label 0
	if got := (evidence.Delivery{Frame: evidence.Frame{Data: frame}, Marked: true}).Bytes(); got[14] != 0x60 || got[15] != 0x10 {
		t.Errorf("IPv6: % x", got[14:18])
	}
}

func checksum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			s += uint32(b[i]) << 8
			if i+1 < len(b) {
				s += uint32(b[i+1])
			}
		}
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
