package pack

import (
	"encoding/binary"
	"errors"

	"github.com/snapline/snapline/repository/seal"
)

// indexHeader is the length of a pack's entry in an index before its frames.
const indexHeader = 16 + 8 + 4

var errIndex = errors.New("the index makes no sense")

// SealIndex returns an index blob: the contents of some packs. For each: id,
// size (uint64, little-endian), number of frames (uint32), and the frames as
// in the footer.
func SealIndex(m *seal.Master, name string, packs []Contents) []byte {
	return m.Seal(seal.IndexMagic, name, encodeIndex(packs))
}

func encodeIndex(packs []Contents) []byte {
	var b []byte
	for _, c := range packs {
		b = append(b, c.ID[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(c.Size))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Frames)))
		b = appendFrames(b, c.Frames)
	}
	return b
}

// OpenIndex reads an index blob.
func OpenIndex(m *seal.Master, name string, blob []byte) ([]Contents, error) {
	text, err := m.Open(seal.IndexMagic, name, blob)
	if err != nil {
		return nil, err
	}
	return decodeIndex(text)
}

func decodeIndex(b []byte) (packs []Contents, err error) {
	for len(b) > 0 {
		if len(b) < indexHeader {
			return nil, errIndex
		}
		c := Contents{ID: ID(b[:16]), Size: int64(binary.LittleEndian.Uint64(b[16:]))}
		n := int(binary.LittleEndian.Uint32(b[24:]))
		if b = b[indexHeader:]; n == 0 || n > len(b)/frameHeader {
			return nil, errIndex
		}
		if c.Frames, b, err = parseFrames(b, n); err != nil {
			return nil, err
		}
		if c.Size < c.end() || c.Size >= 1<<32 {
			return nil, errIndex
		}
		packs = append(packs, c)
	}
	return packs, nil
}
