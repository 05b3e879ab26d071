package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/snapline/snapline"
	"github.com/zeebo/blake3"
)

// digestBlock is the unit in which Digest looks at a disk.
const digestBlock = 64 << 10

// Digest identifies what a guest reads from a disk that stands alone, whatever
// its format and wherever its holes are: BLAKE3-256, in hexadecimal, of
//
//	"snapline disk 1\n", size (u64, little-endian),
//	for each block of 64 KiB that is not all zeros, in order:
//	    its offset (u64, little-endian), its 64 KiB (the last one filled up with zeros)
func Digest(size int64, extents iter.Seq2[snapline.Extent, error]) (string, error) {
	d := newDigester(size)
	for _, err := range d.tee(extents) {
		if err != nil {
			return "", err
		}
	}
	return d.sum(), nil
}

type digester struct {
	hash  *blake3.Hasher
	size  int64
	block []byte
	at    int64 // offset of block
	end   int64 // of what came so far
}

func newDigester(size int64) *digester {
	d := &digester{hash: blake3.New(), size: size, block: make([]byte, digestBlock)}
	d.hash.WriteString("snapline disk 1\n")
	d.number(size)
	return d
}

// tee passes extents on, and looks at each.
func (d *digester) tee(extents iter.Seq2[snapline.Extent, error]) iter.Seq2[snapline.Extent, error] {
	return func(yield yieldFunc) {
		for e, err := range extents {
			if err == nil {
				err = d.take(e)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (d *digester) take(e snapline.Extent) error {
	if e.Offset < d.end || e.Length < 0 || e.Data != nil && int64(len(e.Data)) != e.Length || e.Length > d.size-e.Offset {
		return fmt.Errorf("digest: extent at %d of %d bytes is out of place", e.Offset, e.Length)
	}
	d.end = e.Offset + e.Length
	d.add(e.Offset, e.Data)
	return nil
}

// sum is the digest of all that came.
func (d *digester) sum() string {
	d.flush()
	return hex.EncodeToString(d.hash.Sum(nil))
}

func (d *digester) number(n int64) {
	d.hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func (d *digester) add(offset int64, data []byte) {
	for len(data) > 0 {
		if start := offset - offset%digestBlock; start != d.at {
			d.flush()
			d.at = start
		}
		n := copy(d.block[offset-d.at:], data)
		offset, data = offset+int64(n), data[n:]
	}
}

func (d *digester) flush() {
	if !allZero(d.block) {
		d.number(d.at)
		d.hash.Write(d.block)
	}
	clear(d.block)
}

var zeroPage [4096]byte

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeroPage))
		if !bytes.Equal(b[:n], zeroPage[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
