package evidence

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/snapline/snapline"
)

// Frame is a packet with its content, from its Ethernet header on.
type Frame struct {
	Member snapline.MemberName // at whose gate it was seen
	At     int64               // nanoseconds since 1970, UTC
	ID     uint64              // At of its record in the member's trace; 0 for none
	Data   []byte
	// Length is the frame's in bytes, of which Data holds the beginning; less than
	// len(Data) means all of it.
	Length  int
	Comment string // empty for none
}

// Blocks and options of pcapng, draft-ietf-opsawg-pcapng, sections 3 and 4.
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockPacket    = 6

	optionEnd             = 0
	optionComment         = 1
	optionPacketID        = 5
	optionInterfaceName   = 2
	optionResolution      = 9
	optionUserApplication = 4

	linkEthernet = 1

	byteOrder = 0x1A2B3C4D // as we write it, little-endian
)

// WritePcapng writes frames, in their order, as a pcapng file that Wireshark and
// tcpdump read: one interface for each member, named after it.
func WritePcapng(w io.Writer, frames []Frame) error {
	p := &pcapng{w: bufio.NewWriter(w)}
	p.section()
	interfaces := map[snapline.MemberName]uint32{}
	for _, f := range frames {
		if _, ok := interfaces[f.Member]; !ok {
			interfaces[f.Member] = uint32(len(interfaces))
			p.network(string(f.Member))
		}
	}
	for i, f := range frames {
		if len(f.Data) > math.MaxInt32 || f.Length > math.MaxInt32 || f.At < 0 || len(f.Comment) > math.MaxUint16 {
			return fmt.Errorf("write pcapng: frame %d: its size, time or comment does not fit into the format", i)
		}
		p.packet(interfaces[f.Member], f)
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}

// pcapng collects one block in b. Errors of w stay until Flush.
type pcapng struct {
	w *bufio.Writer
	b []byte
}

func (p *pcapng) word(v uint32) { p.b = binary.LittleEndian.AppendUint32(p.b, v) }
func (p *pcapng) half(v uint16) { p.b = binary.LittleEndian.AppendUint16(p.b, v) }

// padded appends data and zeros up to a multiple of four bytes.
func (p *pcapng) padded(data []byte) {
	p.b = append(p.b, data...)
	p.b = append(p.b, make([]byte, -len(data)&3)...)
}

func (p *pcapng) option(code uint16, value []byte) {
	p.half(code)
	p.half(uint16(len(value)))
	p.padded(value)
}

// begin starts a block's body, end writes it with its type and length.
func (p *pcapng) begin() { p.b = p.b[:0] }

func (p *pcapng) end(kind uint32) {
	head := binary.LittleEndian.AppendUint32(nil, kind)
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(p.b)+12))
	for _, part := range [][]byte{head, size, p.b, size} {
		_, _ = p.w.Write(part) // Flush returns it
	}
}

func (p *pcapng) section() {
	p.begin()
	p.word(byteOrder)
	p.half(1) // version 1.0
	p.half(0)
	p.word(math.MaxUint32) // the section's length: not said
	p.word(math.MaxUint32)
	p.option(optionUserApplication, []byte("Snapline"))
	p.option(optionEnd, nil)
	p.end(blockSection)
}

func (p *pcapng) network(name string) {
	p.begin()
	p.half(linkEthernet)
	p.half(0)
	p.word(0) // frames are of any size
	p.option(optionInterfaceName, []byte(name))
	p.option(optionResolution, []byte{9}) // nanoseconds
	p.option(optionEnd, nil)
	p.end(blockInterface)
}

func (p *pcapng) packet(network uint32, f Frame) {
	p.begin()
	p.word(network)
	p.word(uint32(uint64(f.At) >> 32))
	p.word(uint32(f.At))
	p.word(uint32(len(f.Data)))
	p.word(uint32(max(f.Length, len(f.Data))))
	p.padded(f.Data)
	if f.Comment != "" {
		p.option(optionComment, []byte(f.Comment))
	}
	if f.ID != 0 {
		p.option(optionPacketID, binary.LittleEndian.AppendUint64(nil, f.ID))
	}
	if f.Comment != "" || f.ID != 0 {
		p.option(optionEnd, nil)
	}
	p.end(blockPacket)
}
