package evidence

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/snapline/snapline"
)

// columns of an encoded trace, in their order. Fields of one kind lie side by
// side because that compresses better than packets side by side.
const (
	columnAt = iota
	columnBits
	columnFlow
	columnFlags
	columnLength
	columnID
	columnFragment
	columnSequence
	columnAck
	columnStamp
	columnWindow
	columnDigest
	columns
)

// Encode returns a trace in the format that the package's comment describes.
// Digests of packets without payload, and zones of addresses, are not kept.
func Encode(t snapline.Trace) ([]byte, error) {
	if len(t.Member) > nameMax || len(t.Host) > nameMax {
		return nil, fmt.Errorf("encode a trace: names are at most %d bytes long", nameMax)
	}
	e := encoder{flows: map[flowKey]*flow{}, addresses: map[netip.Addr]uint64{}}
	for i := range t.Packets {
		e.packet(&t.Packets[i])
	}
	b := make([]byte, 0, 64+len(t.Packets)*24)
	b = appendString(b, string(t.Member))
	b = appendString(b, string(t.Host))
	for _, at := range []snapline.Instant{t.CutBegan, t.CutEnded, t.Paused, t.Resumed} {
		b = binary.AppendVarint(b, int64(at))
	}
	b = binary.AppendUvarint(b, t.Lost)
	b = binary.AppendUvarint(b, uint64(len(e.addresses)))
	b = append(b, e.addressTable...)
	b = binary.AppendUvarint(b, uint64(len(e.flows)))
	b = append(b, e.flowTable...)
	b = binary.AppendUvarint(b, uint64(len(t.Packets)))
	for _, c := range e.column {
		b = append(b, c...)
	}
	return compress(b)
}

type flowKey struct {
	protocol uint8
	from, to netip.AddrPort
}

type encoder struct {
	at                      snapline.Instant
	flows                   map[flowKey]*flow
	addresses               map[netip.Addr]uint64
	addressTable, flowTable []byte
	column                  [columns][]byte
}

func (e *encoder) unsigned(c int, v uint64) { e.column[c] = binary.AppendUvarint(e.column[c], v) }
func (e *encoder) signed(c int, v int64)    { e.column[c] = binary.AppendVarint(e.column[c], v) }

func (e *encoder) packet(p *snapline.Packet) {
	f := e.flow(p)
	e.signed(columnAt, int64(p.At-e.at))
	e.at = p.At
	var bits byte
	if p.Inbound {
		bits |= inboundBit
	}
	if p.Withheld {
		bits |= withheldBit
	}
	if p.Marked {
		bits |= markedBit
	}
	e.column[columnBits] = append(e.column[columnBits], bits)
	e.unsigned(columnFlow, f.id)
	e.column[columnFlags] = append(e.column[columnFlags], p.Flags^f.flags)
	e.unsigned(columnLength, uint64(p.Length))
	e.signed(columnID, int64(int16(p.ID-f.ipID)))
	e.unsigned(columnFragment, uint64(p.Fragment^f.fragment))
	e.signed(columnSequence, int64(int32(p.Sequence-f.next)))
	e.signed(columnAck, int64(int32(p.Acknowledgement-f.expectedAck())))
	e.signed(columnStamp, int64(int32(p.Timestamp-f.stamp)))
	e.signed(columnWindow, int64(int16(p.Window-f.window)))
	if p.Length > 0 {
		e.column[columnDigest] = binary.LittleEndian.AppendUint64(e.column[columnDigest], p.Digest)
	}
	f.advance(p)
}

// flow returns that of p, and writes it into the tables when it is new.
func (e *encoder) flow(p *snapline.Packet) *flow {
	k := flowKey{p.Protocol, p.Source, p.Destination}
	f := e.flows[k]
	if f == nil {
		f = &flow{id: uint64(len(e.flows)), reverse: e.flows[flowKey{k.protocol, k.to, k.from}]}
		if f.reverse != nil {
			f.reverse.reverse = f
		}
		from, to := e.address(p.Source.Addr()), e.address(p.Destination.Addr())
		e.flowTable = append(e.flowTable, p.Protocol)
		e.flowTable = binary.AppendUvarint(e.flowTable, from)
		e.flowTable = binary.AppendUvarint(e.flowTable, uint64(p.Source.Port()))
		e.flowTable = binary.AppendUvarint(e.flowTable, to)
		e.flowTable = binary.AppendUvarint(e.flowTable, uint64(p.Destination.Port()))
		e.flows[k] = f
	}
	return f
}

func (e *encoder) address(a netip.Addr) uint64 {
	i, ok := e.addresses[a]
	if !ok {
		i = uint64(len(e.addresses))
		e.addresses[a] = i
		raw := a.WithZone("").AsSlice() // no packet carries a zone
		e.addressTable = append(append(e.addressTable, byte(len(raw))), raw...)
	}
	return i
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
