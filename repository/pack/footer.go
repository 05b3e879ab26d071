package pack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// ID names a pack; it is also the salt of the pack's key.
type ID = seal.Salt

// Frame is one frame's place in its pack, and what is in it.
type Frame struct {
	Kind   Kind
	Offset int64 // of the ciphertext in the pack
	Length int64 // of ciphertext and tag
	IDs    []page.ID
}

// frameHeader is the length of a frame's entry before its ids.
const frameHeader = 6

// appendFrames encodes a list of frames that follow each other from the
// header's end on: for each, kind, number of objects less one, length (uint32,
// little-endian), ids.
func appendFrames(b []byte, frames []Frame) []byte {
	for _, f := range frames {
		b = append(b, byte(f.Kind), byte(len(f.IDs)-1))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.Length))
		for _, id := range f.IDs {
			b = append(b, id[:]...)
		}
	}
	return b
}

var errFrames = errors.New("the list of frames makes no sense")

// parseFrames decodes n frames, or all of b if n is negative.
func parseFrames(b []byte, n int) (frames []Frame, rest []byte, err error) {
	offset := int64(seal.HeaderSize)
	for n < 0 && len(b) > 0 || len(frames) < n {
		if len(b) < frameHeader {
			return nil, nil, errFrames
		}
		f := Frame{Kind: Kind(b[0]), Offset: offset, Length: int64(binary.LittleEndian.Uint32(b[2:]))}
		count := int(b[1]) + 1
		b = b[frameHeader:]
		if f.Kind.ObjectSize() == 0 || count > FrameObjects || f.Length <= seal.Overhead || f.Length > maxFrame || len(b) < count*16 {
			return nil, nil, errFrames
		}
		f.IDs = make([]page.ID, count)
		for i := range f.IDs {
			copy(f.IDs[i][:], b)
			b = b[len(f.IDs[i]):]
		}
		offset += f.Length
		frames = append(frames, f)
	}
	return frames, b, nil
}

// maxFrame bounds what a frame's length may claim, in bytes.
const maxFrame = 1 << 20

// Contents is what a pack holds.
type Contents struct {
	ID     ID
	Size   int64 // of the whole blob
	Frames []Frame
}

// trailerSize is the length of a pack's end: the footer's length (uint32,
// little-endian) and the word FOOT.
const trailerSize = 8

var trailerWord = [4]byte{'F', 'O', 'O', 'T'}

var footerAAD = []byte("footer")

// FooterRange returns where the footer of a pack of that size is, given the
// pack's last TrailerSize bytes.
func FooterRange(size int64, trailer []byte) (offset, length int64, err error) {
	if len(trailer) != trailerSize || [4]byte(trailer[4:]) != trailerWord {
		return 0, 0, fmt.Errorf("%w: it has no footer", seal.ErrAltered)
	}
	length = int64(binary.LittleEndian.Uint32(trailer))
	offset = size - trailerSize - length
	if length < seal.Overhead || offset < seal.HeaderSize {
		return 0, 0, fmt.Errorf("%w: a footer of %d bytes in %d", seal.ErrAltered, length, size)
	}
	return offset, length, nil
}

// TrailerSize is how many bytes of a pack's end FooterRange wants.
const TrailerSize = trailerSize

// OpenFooter decrypts the footer at that offset of a pack of that size.
func OpenFooter(m *seal.Master, id ID, size, offset int64, sealed []byte) (Contents, error) {
	text, err := m.AEAD(id[:]).Open(nil, seal.Nonce(offset), sealed, footerAAD)
	if err != nil {
		return Contents{}, seal.ErrAltered
	}
	c, err := decodeFooter(id, size, text)
	if err == nil && c.end() != offset {
		err = errFrames
	}
	return c, err
}

func decodeFooter(id ID, size int64, text []byte) (Contents, error) {
	frames, _, err := parseFrames(text, -1)
	return Contents{ID: id, Size: size, Frames: frames}, err
}

// end is where the frames end and the footer begins.
func (c *Contents) end() int64 {
	if len(c.Frames) == 0 {
		return seal.HeaderSize
	}
	last := c.Frames[len(c.Frames)-1]
	return last.Offset + last.Length
}

// Objects counts what the frames hold.
func (c *Contents) Objects() int {
	n := 0
	for _, f := range c.Frames {
		n += len(f.IDs)
	}
	return n
}
