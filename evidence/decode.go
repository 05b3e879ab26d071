package evidence

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/snapline/snapline"
)

// Decode reads what Encode wrote. Whatever it is given, it uses no more memory
// than the limits allow, and returns ErrFormat or ErrNewer.
func Decode(b []byte, l Limits) (snapline.Trace, error) {
	if len(b) < len(magic) || !strings.HasPrefix(string(b[:len(magic)]), magic[:len(magic)-1]) {
		return snapline.Trace{}, fmt.Errorf("%w: it does not begin with %q", ErrFormat, magic)
	}
	if string(b[:len(magic)]) != magic {
		return snapline.Trace{}, ErrNewer
	}
	body, err := decompress(b[len(magic):], l.Bytes)
	if err != nil {
		return snapline.Trace{}, err
	}
	d := decoder{rest: body}
	t := d.trace(l)
	switch {
	case d.err != "":
		return snapline.Trace{}, fmt.Errorf("%w: %s", ErrFormat, d.err)
	case len(d.rest) > 0:
		return snapline.Trace{}, fmt.Errorf("%w: %d bytes follow its end", ErrFormat, len(d.rest))
	}
	return t, nil
}

// decoder reads from rest until it has an error; from then on it reads zeros.
type decoder struct {
	rest []byte
	err  string
}

func (d *decoder) fail(format string, a ...any) {
	if d.err == "" {
		d.err = fmt.Sprintf(format, a...)
	}
	d.rest = nil
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail("it ends too early")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) octet() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) unsigned(most uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > most {
		d.fail("a number is too large, or cut off")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// signed reads one whose absolute value takes at most that many bits.
func (d *decoder) signed(bits int) int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 || v>>(bits-1) != 0 && v>>(bits-1) != -1 {
		d.fail("a number is too large, or cut off")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads how many things of at least that size follow.
func (d *decoder) count(size, most int) int {
	n := d.unsigned(1<<64 - 1)
	if n > uint64(len(d.rest)/size) {
		d.fail("it ends too early")
		return 0
	}
	if n > uint64(most) {
		d.fail("a table of %d is longer than %d", n, most)
		return 0
	}
	return int(n)
}

func (d *decoder) name() string { return string(d.take(d.unsigned(255))) }

func (d *decoder) trace(l Limits) snapline.Trace {
	t := snapline.Trace{Member: snapline.MemberName(d.name()), Host: snapline.HostName(d.name())}
	for _, at := range []*snapline.Instant{&t.CutBegan, &t.CutEnded, &t.Paused, &t.Resumed} {
		*at = snapline.Instant(d.signed(64))
	}
	t.Lost = d.unsigned(1<<64 - 1)
	flows := d.flows(d.addresses(2*l.Packets), l.Packets)
	n := d.count(columns-1, l.Packets) // a packet without payload has no digest
	if d.err == "" && n > 0 {
		t.Packets = make([]snapline.Packet, n)
		d.packets(t.Packets, flows)
	}
	return t
}

func (d *decoder) addresses(most int) []netip.Addr {
	table := make([]netip.Addr, d.count(1, most))
	for i := range table {
		switch n := d.octet(); n {
		case 0: // the zero netip.Addr
		case 4, 16:
			table[i], _ = netip.AddrFromSlice(d.take(uint64(n)))
		default:
			d.fail("an address of %d bytes", n)
		}
	}
	return table
}

type decodedFlow struct {
	flow
	protocol uint8
	from, to netip.AddrPort
}

func (d *decoder) flows(addresses []netip.Addr, most int) []decodedFlow {
	table := make([]decodedFlow, d.count(5, most))
	address := func() netip.AddrPort {
		i, port := d.unsigned(1<<32), d.unsigned(1<<16-1)
		if i >= uint64(len(addresses)) {
			d.fail("address %d of %d", i, len(addresses))
			return netip.AddrPort{}
		}
		return netip.AddrPortFrom(addresses[i], uint16(port))
	}
	for i := range table {
		f := &table[i]
		f.protocol, f.from, f.to = d.octet(), address(), address()
	}
	return table
}

// packets reads the columns. A flow's fields are foretold from the packets
// before it, so what depends on them is put together packet by packet at the end.
func (d *decoder) packets(packets []snapline.Packet, flows []decodedFlow) {
	n := len(packets)
	var at snapline.Instant
	for i := range packets {
		at += snapline.Instant(d.signed(64))
		packets[i].At = at
	}
	for i, bits := range d.take(uint64(n)) {
		if bits > inboundBit|withheldBit|markedBit {
			d.fail("bits %#x", bits)
		}
		p := &packets[i]
		p.Inbound, p.Withheld, p.Marked = bits&inboundBit != 0, bits&withheldBit != 0, bits&markedBit != 0
	}
	flowOf := make([]uint32, n)
	for i := range flowOf {
		flowOf[i] = uint32(d.unsigned(1<<32 - 1))
		if int(flowOf[i]) >= len(flows) {
			d.fail("flow %d of %d", flowOf[i], len(flows))
			return
		}
	}
	for i, flags := range d.take(uint64(n)) {
		packets[i].Flags = flags
	}
	for i := range packets {
		packets[i].Length = uint32(d.unsigned(1<<32 - 1))
	}
	for i := range packets {
		packets[i].ID = uint16(d.signed(16))
	}
	for i := range packets {
		packets[i].Fragment = uint16(d.unsigned(1<<16 - 1))
	}
	for i := range packets {
		packets[i].Sequence = uint32(d.signed(32))
	}
	for i := range packets {
		packets[i].Acknowledgement = uint32(d.signed(32))
	}
	for i := range packets {
		packets[i].Timestamp = uint32(d.signed(32))
	}
	for i := range packets {
		packets[i].Window = uint16(d.signed(16))
	}
	for i := range packets {
		if packets[i].Length > 0 {
			if b := d.take(8); b != nil {
				packets[i].Digest = binary.LittleEndian.Uint64(b)
			}
		}
	}
	if d.err == "" {
		restore(packets, flowOf, flows)
	}
}

func restore(packets []snapline.Packet, flowOf []uint32, flows []decodedFlow) {
	byKey := make(map[flowKey]*decodedFlow, len(flows))
	for i := range packets {
		p, f := &packets[i], &flows[flowOf[i]]
		if !f.known {
			// As in the encoder: a flow meets its reverse when its first packet comes.
			if r := byKey[flowKey{f.protocol, f.to, f.from}]; r != nil {
				f.reverse, r.reverse = &r.flow, &f.flow
			}
			byKey[flowKey{f.protocol, f.from, f.to}] = f
		}
		p.Protocol, p.Source, p.Destination = f.protocol, f.from, f.to
		p.Flags ^= f.flags
		p.ID += f.ipID
		p.Fragment ^= f.fragment
		p.Sequence += f.next
		p.Acknowledgement += f.expectedAck()
		p.Timestamp += f.stamp
		p.Window += f.window
		f.advance(p)
	}
}
