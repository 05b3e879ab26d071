package repository

import (
	"encoding/binary"
	"io"
	"math/rand/v2"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

// machine generates the migration stream of a machine that does not exist, of
// any size, without storing it.
type machine struct {
	pages int64
	zero  int // of 16 pages, so many are zero
	// content returns which of all possible pages page i is; pages of equal
	// numbers are equal.
	content func(i int64) uint64
}

// guestLike has a third of its pages zero, a third of the others twice, and
// changed ones where changed says so.
func guestLike(pages int64, seed uint64, changed func(i int64) bool) *machine {
	return &machine{pages: pages, zero: 5, content: func(i int64) uint64 {
		c := uint64(i)
		if i%9 == 8 {
			c = uint64(i / 18 * 18) // a duplicate
		}
		if changed != nil && changed(i) {
			c |= 1 << 40
		}
		return c ^ seed<<48
	}}
}

// stream returns the migration stream.
func (m *machine) stream() io.Reader {
	r, w := io.Pipe()
	go func() { w.CloseWithError(m.write(w)) }()
	return r
}

func (m *machine) write(w io.Writer) error {
	h := &qevm.Head{
		Prologue: append([]byte("QEVM\x00\x00\x00\x03\x07\x00\x00\x00\x0apc-q35-7.2"), nil...),
		Section:  2, Footers: true,
		Blocks: []qevm.Block{{Name: "pc.ram", Bytes: m.pages * page.Size}},
	}
	buf := qevm.AppendHead(nil, h)
	for first := int64(0); first < m.pages; first += 256 {
		p := qevm.NewPart(buf, h, 0)
		for i := first; i < min(first+256, m.pages); i++ {
			if i%16 < int64(m.zero) {
				p.Fill(i, 0)
			} else {
				contentOf(m.content(i), p.Page(i))
			}
		}
		if _, err := w.Write(p.End()); err != nil {
			return err
		}
		buf = buf[:0]
	}
	devices := make([]byte, 12*page.Size+99)
	for at := 0; at+page.Size < len(devices); at += page.Size {
		contentOf(m.content(0)+1<<56+uint64(at), devices[at:][:page.Size])
	}
	devices[0] = 4 // a device's section
	_, err := w.Write(devices)
	return err
}

// contentOf fills a page: pointers, small numbers and text in turns, which zstd
// packs to about 40 %.
func contentOf(n uint64, p []byte) {
	rnd := rand.NewPCG(n, 7)
	for at := 0; at < len(p); at += 64 {
		line := p[at : at+64]
		x := rnd.Uint64()
		switch x % 4 {
		case 0: // pointers
			for k := 0; k < 64; k += 8 {
				binary.LittleEndian.PutUint64(line[k:], 0xffff888000000000|x&0xfffffff8)
				x = x>>5 ^ x<<9
			}
		case 1: // small numbers
			for k := 0; k < 64; k += 4 {
				binary.LittleEndian.PutUint32(line[k:], uint32(x>>(k/4))&0xff)
			}
		case 2: // text
			for k := range line {
				line[k] = "etaoin shrdlu{}"[x>>(k%32)&0xf%15]
			}
		case 3: // anything
			for k := 0; k < 64; k += 8 {
				binary.LittleEndian.PutUint64(line[k:], rnd.Uint64())
			}
		}
	}
}
