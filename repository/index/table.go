package index

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sort"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// Source names an index blob that a table was made of.
type Source [sourceSize]byte

// Table is a sorted file of entries, mapped and never changed. It may be read
// from several goroutines.
type Table struct {
	path    string
	data    []byte
	l       layout
	fan     []byte
	filter  []byte
	entries []byte
	users   atomic.Int32 // the set, and whoever got it from Single
}

// openTable maps and authenticates a file.
func openTable(path string, key []byte) (*Table, error) {
	data, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	l, err := parseLayout(data)
	if err == nil {
		if sum := mac(key, data); !hmac.Equal(sum[:], data[macAt:headerSize]) {
			err = errTable
		}
	}
	if err != nil {
		_ = unix.Munmap(data)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return newTable(path, data, l), nil
}

func newTable(path string, data []byte, l layout) *Table {
	t := &Table{
		path: path, data: data, l: l,
		fan:     data[l.fanAt():l.filterAt()],
		filter:  data[l.filterAt():l.entriesAt()],
		entries: data[l.entriesAt():],
	}
	t.users.Store(1)
	return t
}

func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < headerSize {
		return nil, fmt.Errorf("%s: %w", path, errTable)
	}
	return unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
}

// Close gives a table of Single back. The last user unmaps it.
func (t *Table) Close() error {
	if t.users.Add(-1) > 0 {
		return nil
	}
	return unix.Munmap(t.data)
}

// Len is how many entries there are.
func (t *Table) Len() int { return t.l.entries }

func (t *Table) entry(i int) []byte { return t.entries[i*entrySize:][:entrySize] }

// At returns entry i, in order of ids.
func (t *Table) At(i int) (page.ID, Loc) {
	e := t.entry(i)
	l := entryLoc(e)
	l.Pack, l.PackSize = t.pack(entryPack(e))
	return page.ID(e[:16]), l
}

// Packs is how many packs the table knows.
func (t *Table) Packs() int { return t.l.packs }

func (t *Table) pack(n int) (pack.ID, int64) {
	b := t.data[t.l.packsAt()+int64(n)*packSize:]
	return pack.ID(b[:16]), int64(binary.LittleEndian.Uint64(b[16:]))
}

// knows reports whether one of the packs is in the table.
func (t *Table) knows(packs map[pack.ID]bool) bool {
	for i := range t.l.packs {
		if id, _ := t.pack(i); packs[id] {
			return true
		}
	}
	return false
}

// Sources lists the index blobs in it.
func (t *Table) Sources() []Source {
	list := make([]Source, t.l.sources)
	for i := range list {
		copy(list[i][:], t.data[headerSize+i*sourceSize:])
	}
	return list
}

// Find returns the number of the id's entry.
func (t *Table) Find(id page.ID) (int, bool) {
	if t.l.entries == 0 || !filterHas(t.filter, id) {
		return 0, false
	}
	slot := fanSlot(id, t.l.fanBits)
	lo := int(binary.LittleEndian.Uint32(t.fan[4*slot:]))
	hi := int(binary.LittleEndian.Uint32(t.fan[4*slot+4:]))
	i := lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(t.entry(lo + i)[:16], id[:]) >= 0 })
	return i, i < hi && page.ID(t.entry(i)[:16]) == id
}

// fanSlot is the number that the id's first bits make.
func fanSlot(id page.ID, bits int) int {
	return int(binary.BigEndian.Uint64(id[:]) >> (64 - bits))
}

// covers reports whether every source is in the set.
func (t *Table) covers(known map[Source]bool) bool {
	return !slices.ContainsFunc(t.Sources(), func(s Source) bool { return !known[s] })
}
