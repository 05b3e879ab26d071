package qevm

import (
	"encoding/binary"
	"slices"

	"github.com/snapline/snapline/repository/page"
)

// AppendHead appends the stream up to and with the block table.
func AppendHead(dst []byte, h *Head) []byte {
	be := binary.BigEndian
	dst = append(dst, h.Prologue...)
	dst = append(dst, typeStart)
	dst = be.AppendUint32(dst, h.Section)
	dst = appendName(dst, "ram")
	dst = be.AppendUint32(dst, h.Instance)
	dst = be.AppendUint32(dst, ramVersion)
	dst = be.AppendUint64(dst, uint64(h.ramBytes())|flagMemSize)
	for _, b := range h.Blocks {
		dst = appendName(dst, b.Name)
		dst = be.AppendUint64(dst, uint64(b.Bytes))
	}
	return h.appendEnd(dst)
}

// appendEnd ends a section.
func (h *Head) appendEnd(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, flagEOS)
	if h.Footers {
		dst = append(dst, typeFooter)
		dst = binary.BigEndian.AppendUint32(dst, h.Section)
	}
	return dst
}

func appendName(dst []byte, s string) []byte {
	return append(append(dst, byte(len(s))), s...)
}

// Part is a PART section under construction: some pages of one block. Each
// stands for itself, so that they can be made in parallel.
type Part struct {
	h     *Head
	block int
	flags uint64 // of the next record
	dst   []byte
	empty int // length of dst without any page
	start int
}

// NewPart begins a section at the end of dst.
func NewPart(dst []byte, h *Head, block int) *Part {
	p := &Part{h: h, block: block, start: len(dst)}
	dst = append(dst, typePart)
	p.dst = binary.BigEndian.AppendUint32(dst, h.Section)
	p.empty = len(p.dst)
	return p
}

func (p *Part) record(index int64, kind uint64) {
	p.dst = binary.BigEndian.AppendUint64(p.dst, uint64(index)*page.Size|kind|p.flags)
	if p.flags == 0 {
		p.dst = appendName(p.dst, p.h.Blocks[p.block].Name)
		p.flags = flagContinue
	}
}

// Page appends a page and returns the space for its content, which must be
// written: there may be anything in it.
func (p *Part) Page(index int64) []byte {
	p.record(index, flagPage)
	n := len(p.dst)
	p.dst = slices.Grow(p.dst, page.Size)[:n+page.Size]
	return p.dst[n:]
}

// Fill appends a page full of one byte.
func (p *Part) Fill(index int64, b byte) {
	p.record(index, flagZero)
	p.dst = append(p.dst, b)
}

// End returns the bytes with the section, or without it if it has no page.
func (p *Part) End() []byte {
	if len(p.dst) == p.empty {
		return p.dst[:p.start]
	}
	return p.h.appendEnd(p.dst)
}

// Room is how long a section of n pages is at the most, in bytes.
func Room(n int) int { return n*(page.Size+8) + 300 }
