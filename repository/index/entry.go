package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// Loc is where an object is.
type Loc struct {
	Pack           pack.ID
	PackSize       int64
	Offset, Length int64 // of its frame
	Slot           int   // which of the frame's objects it is
}

// entrySize is the length of an entry: id 16, pack's number 4, frame's offset
// 4, frame's length 3, slot 1; integers little-endian.
const entrySize = 28

type entry [entrySize]byte

func makeEntry(id page.ID, packNo int, f pack.Frame, slot int) (e entry) {
	copy(e[:], id[:])
	binary.LittleEndian.PutUint32(e[16:], uint32(packNo))
	binary.LittleEndian.PutUint32(e[20:], uint32(f.Offset))
	e[24], e[25], e[26] = byte(f.Length), byte(f.Length>>8), byte(f.Length>>16)
	e[27] = byte(slot)
	return e
}

func entryPack(e []byte) int { return int(binary.LittleEndian.Uint32(e[16:])) }

func setEntryPack(e []byte, n int) { binary.LittleEndian.PutUint32(e[16:], uint32(n)) }

func entryLoc(e []byte) Loc {
	return Loc{
		Offset: int64(binary.LittleEndian.Uint32(e[20:])),
		Length: int64(e[24]) | int64(e[25])<<8 | int64(e[26])<<16,
		Slot:   int(e[27]),
	}
}

// sortedEntries returns what some packs hold, by id, each id once.
func sortedEntries(packs []pack.Contents) []entry {
	n := 0
	for i := range packs {
		n += packs[i].Objects()
	}
	list := make([]entry, 0, n)
	for no, c := range packs {
		for _, f := range c.Frames {
			for slot, id := range f.IDs {
				list = append(list, makeEntry(id, no, f, slot))
			}
		}
	}
	slices.SortFunc(list, entry.compare)
	return slices.CompactFunc(list, func(a, b entry) bool { return [16]byte(a[:16]) == [16]byte(b[:16]) })
}

// compare orders entries by id; those of one id by their place, so that the
// first pack's is kept.
func (e entry) compare(o entry) int {
	if a, b := binary.BigEndian.Uint64(e[:]), binary.BigEndian.Uint64(o[:]); a != b {
		return cmp.Compare(a, b)
	}
	return cmp.Or(bytes.Compare(e[8:16], o[8:16]), cmp.Compare(entryPack(e[:]), entryPack(o[:])), bytes.Compare(e[20:], o[20:]))
}
