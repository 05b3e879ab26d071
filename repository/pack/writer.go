package pack

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// TargetSize is the length at which a pack is finished, in bytes: few enough
// blobs for a listing, short enough to be uploaded again after a broken
// connection. A pack is at most one frame and the footer longer.
const TargetSize = 16 << 20

// Writer builds one pack in memory. It is for one goroutine.
type Writer struct {
	id     ID
	aead   cipher.AEAD
	buf    []byte
	frames []Frame
}

// NewWriter begins a pack under a new id. It writes into buf's space, if that
// is large enough.
func NewWriter(m *seal.Master, buf []byte) *Writer {
	return newWriter(m, seal.NewSalt(), buf)
}

func newWriter(m *seal.Master, id ID, buf []byte) *Writer {
	return &Writer{id: id, aead: m.AEAD(id[:]), buf: append(buf[:0], seal.Header(seal.PackMagic, id)...)}
}

// Add seals a frame of compressed objects with these ids.
func (w *Writer) Add(k Kind, ids []page.ID, packed []byte) {
	offset := int64(len(w.buf))
	w.reserve(len(packed) + seal.Overhead)
	w.buf = w.aead.Seal(w.buf, seal.Nonce(offset), packed, k.aad())
	w.frames = append(w.frames, Frame{Kind: k, Offset: offset, Length: int64(len(w.buf)) - offset, IDs: ids})
}

// reserve finds room for n bytes more. A pack that has become large will be
// full one day: it gets all its space at once instead of being copied, a quarter
// longer, again and again.
func (w *Writer) reserve(n int) {
	if cap(w.buf)-len(w.buf) < n && len(w.buf) >= largeEnough && len(w.buf) < TargetSize {
		n = max(n, TargetSize+ending-len(w.buf))
	}
	w.buf = slices.Grow(w.buf, n)
}

const (
	largeEnough = 1 << 20
	ending      = 512 << 10 // for the last frame and the footer of most packs
)

// Full reports whether the pack should be finished now.
func (w *Writer) Full() bool { return len(w.buf) >= TargetSize }

// Finish adds the footer and returns the pack's bytes and contents.
func (w *Writer) Finish() ([]byte, Contents) {
	offset := int64(len(w.buf))
	w.buf = w.aead.Seal(w.buf, seal.Nonce(offset), appendFrames(nil, w.frames), footerAAD)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(int64(len(w.buf))-offset))
	w.buf = append(w.buf, trailerWord[:]...)
	return w.buf, Contents{ID: w.id, Size: int64(len(w.buf)), Frames: w.frames}
}
