package evidence

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/snapline/snapline"
)

// magic begins an encoded trace; its last letter is the format's version.
const magic = "SNAPTRC1"

// Limits bound what Decode believes of its input.
type Limits struct {
	// Packets is the largest number of packets in a trace.
	Packets int
	// Bytes is the largest size of a trace before its compression.
	Bytes int
}

// DefaultLimits are for six seconds, as long as a gate may stand, of 170,000
// packets each. With them Decode uses less than a GiB whatever it is given.
func DefaultLimits() Limits { return Limits{Packets: 1 << 20, Bytes: 48 << 20} }

// nameMax is how long a member's or host's name may be, in bytes.
const nameMax = 255

// ErrFormat is an encoded trace that is none, is damaged, or exceeds the limits.
var ErrFormat = errors.New("not a trace")

// ErrNewer is a trace of a format that a later version of Snapline has written.
var ErrNewer = errors.New("trace of a newer format: use the version of Snapline that took the snapshot")

// bits of a packet's first column
const (
	inboundBit = 1 << iota
	withheldBit
	markedBit
)

// flow is what packets of one direction of a conversation have in common, and
// by which the next one's fields are foretold.
type flow struct {
	id       uint64
	reverse  *flow // the other direction, once it has been seen
	known    bool
	next     uint32 // sequence number after the last packet
	ack      uint32
	stamp    uint32
	window   uint16
	flags    uint8
	ipID     uint16
	fragment uint16
	length   uint32
}

// advance remembers p as the flow's last packet.
func (f *flow) advance(p *snapline.Packet) {
	f.known = true
	f.next = p.Sequence + p.Length + uint32(p.Flags&flagSYN)>>1 + uint32(p.Flags&flagFIN)
	f.ack, f.stamp, f.window, f.flags = p.Acknowledgement, p.Timestamp, p.Window, p.Flags
	f.ipID, f.fragment, f.length = p.ID, p.Fragment, p.Length
}

// expectedAck is what the flow's next packet most likely acknowledges: all that
// the other direction has sent.
func (f *flow) expectedAck() uint32 {
	if f.reverse != nil && f.reverse.known {
		return f.reverse.next
	}
	return f.ack
}

func compress(b []byte) ([]byte, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(b, []byte(magic)), z.Close()
}

func decompress(b []byte, limit int) ([]byte, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(max(limit, 1))))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	body, err := z.DecodeAll(b, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", ErrFormat, err)
	}
	return body, nil
}
