package evidence

import (
	"encoding/binary"
	"fmt"

	"github.com/snapline/snapline"
)

// ReadPcapng reads what WritePcapng has written, and no other files of that
// format. Frames' Data are parts of b. ErrFormat for anything else.
func ReadPcapng(b []byte) ([]Frame, error) {
	var frames []Frame
	var members []snapline.MemberName
	for len(b) > 0 {
		kind, body, rest, ok := block(b)
		if !ok {
			return nil, fmt.Errorf("%w: a block of a pcapng file is cut off", ErrFormat)
		}
		b = rest
		switch kind {
		case blockSection:
			if len(body) < 4 || binary.LittleEndian.Uint32(body) != byteOrder {
				return nil, fmt.Errorf("%w: a pcapng file of another byte order", ErrFormat)
			}
			members = nil
		case blockInterface:
			name, ok := interfaceName(body)
			if !ok {
				return nil, fmt.Errorf("%w: an interface without a name", ErrFormat)
			}
			members = append(members, name)
		case blockPacket:
			f, ok := readPacket(body, members)
			if !ok {
				return nil, fmt.Errorf("%w: packet %d of a pcapng file", ErrFormat, len(frames))
			}
			frames = append(frames, f)
		}
	}
	return frames, nil
}

// block splits the first block off.
func block(b []byte) (kind uint32, body, rest []byte, ok bool) {
	if len(b) < 12 {
		return 0, nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	if n < 12 || n%4 != 0 || n > uint64(len(b)) || uint64(binary.LittleEndian.Uint32(b[n-4:])) != n {
		return 0, nil, nil, false
	}
	return binary.LittleEndian.Uint32(b), b[8 : n-4], b[n:], true
}

func interfaceName(body []byte) (snapline.MemberName, bool) {
	if len(body) < 8 {
		return "", false
	}
	name := optionOf(body[8:], optionInterfaceName)
	return snapline.MemberName(name), name != nil
}

func readPacket(body []byte, members []snapline.MemberName) (Frame, bool) {
	if len(body) < 20 {
		return Frame{}, false
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(body[at:]) }
	n := uint64(word(12))
	padded := (n + 3) &^ 3
	if uint64(word(0)) >= uint64(len(members)) || padded > uint64(len(body)-20) {
		return Frame{}, false
	}
	f := Frame{Member: members[word(0)], At: int64(uint64(word(4))<<32 | uint64(word(8))), Data: body[20 : 20+n : 20+n], Length: int(word(16))}
	options := body[20+padded:]
	f.Comment = string(optionOf(options, optionComment))
	if id := optionOf(options, optionPacketID); len(id) == 8 {
		f.ID = binary.LittleEndian.Uint64(id)
	}
	return f, true
}

// optionOf returns the value of a block's first option of a kind; nil when it has
// none.
func optionOf(b []byte, code uint16) []byte {
	for len(b) >= 4 {
		c, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		padded := (n + 3) &^ 3
		if c == optionEnd || padded > len(b)-4 {
			return nil
		}
		if c == code {
			return b[4 : 4+n : 4+n]
		}
		b = b[4+padded:]
	}
	return nil
}
