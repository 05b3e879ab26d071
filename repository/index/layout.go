package index

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/zeebo/blake3"
)

// A table file: header, sources, packs, fan-out, filter, entries. Its header:
// magic 8, entries 8, packs 8, sources 8, fan-out bits 8, room for entries 8,
// 16 zero bytes, and a keyed BLAKE3 of all else, 32.
const (
	headerSize = 96
	macAt      = 64
	macSize    = 32
	sourceSize = 16
	packSize   = 24 // id 16, size 8
)

var tableMagic = [8]byte{'S', 'N', 'A', 'P', 'T', 'A', 'B', '1'}

var errTable = errors.New("not a table, or an altered one")

// layout says how long the parts are.
type layout struct {
	entries, packs, sources int
	fanBits                 int
	room                    int // entries that fan-out and filter are made for
}

func newLayout(entries, packs, sources int) layout {
	// About 16 entries for each slot of the fan-out: one probe, then half a
	// page of entries at the most.
	return layout{entries, packs, sources, min(28, bits.Len(uint(entries/16))), entries}
}

func (l layout) packsAt() int64   { return headerSize + int64(l.sources)*sourceSize }
func (l layout) fanAt() int64     { return l.packsAt() + int64(l.packs)*packSize }
func (l layout) filterAt() int64  { return l.fanAt() + 4*(int64(1)<<l.fanBits+1) }
func (l layout) entriesAt() int64 { return l.filterAt() + filterSize(l.room) }
func (l layout) size() int64      { return l.entriesAt() + int64(l.entries)*entrySize }

func (l layout) put(b []byte) {
	copy(b, tableMagic[:])
	for i, n := range []int{l.entries, l.packs, l.sources, l.fanBits, l.room} {
		binary.LittleEndian.PutUint64(b[8+8*i:], uint64(n))
	}
}

func parseLayout(b []byte) (layout, error) {
	if len(b) < headerSize || [8]byte(b) != tableMagic {
		return layout{}, errTable
	}
	var n [5]int
	for i := range n {
		v := binary.LittleEndian.Uint64(b[8+8*i:])
		if v > uint64(len(b)) {
			return layout{}, errTable
		}
		n[i] = int(v)
	}
	l := layout{n[0], n[1], n[2], n[3], n[4]}
	if l.fanBits > 28 || l.entries > l.room || l.size() != int64(len(b)) {
		return layout{}, errTable
	}
	return l, nil
}

// mac authenticates a table file: whoever could alter it could make pages seem
// to be stored that are not.
func mac(key, file []byte) (sum [macSize]byte) {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic("blake3: " + err.Error()) // only for keys of another length
	}
	_, _ = h.Write(file[:macAt])
	_, _ = h.Write(file[headerSize:])
	h.Sum(sum[:0])
	return sum
}
