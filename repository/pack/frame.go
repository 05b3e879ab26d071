package pack

import (
	"crypto/cipher"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// Kind is what a frame's objects are. They all have the same length.
type Kind uint8

// The kinds.
const (
	Pages Kind = 1 // page.Size bytes of a machine or disk
	Nodes Kind = 2 // NodeSize bytes of a page map
)

// NodeSize is the length of a page map's node in bytes: 64 page ids.
const NodeSize = 1024

// FrameObjects is how many objects a frame holds at the most. More would
// compress better, and make reading one page dearer.
const FrameObjects = 64

// ObjectSize returns the length of the kind's objects, or 0 for no kind.
func (k Kind) ObjectSize() int {
	switch k {
	case Pages:
		return page.Size
	case Nodes:
		return NodeSize
	}
	return 0
}

// aad is authenticated with a frame; the pack and the offset are in key and nonce.
func (k Kind) aad() []byte { return []byte{'F', byte(k)} }

// Codec compresses and decompresses frames. It may be used from several
// goroutines, and keeps one encoder's and one decoder's memory (a few MiB) per
// goroutine that uses it at the same time.
type Codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// NewCodec returns one for at most that many goroutines at a time.
func NewCodec(concurrency int) (*Codec, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest), // the guests wait for the spool to drain
		zstd.WithEncoderCRC(false),               // the seal is a stronger one
		zstd.WithWindowSize(FrameObjects*page.Size),
		zstd.WithEncoderConcurrency(concurrency))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(concurrency),
		zstd.WithDecoderMaxMemory(FrameObjects*page.Size)) // no frame is longer
	if err != nil {
		return nil, err
	}
	return &Codec{enc, dec}, nil
}

// Close frees what the codec holds. Nothing may use it any more.
func (c *Codec) Close() { c.dec.Close() }

// Compress appends the compressed objects to dst.
func (c *Codec) Compress(dst, objects []byte) []byte { return c.enc.EncodeAll(objects, dst) }

// Open decrypts and decompresses the frame that begins at that offset of a
// pack with that key, and appends its objects to dst. sealed is overwritten.
func (c *Codec) Open(dst []byte, aead cipher.AEAD, k Kind, offset int64, sealed []byte) ([]byte, error) {
	packed, err := aead.Open(sealed[:0], seal.Nonce(offset), sealed, k.aad())
	if err != nil {
		return nil, seal.ErrAltered
	}
	from := len(dst)
	objects, err := c.dec.DecodeAll(packed, dst)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if n := len(objects) - from; n == 0 || n%k.ObjectSize() != 0 || n > FrameObjects*k.ObjectSize() {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	return objects, nil
}
