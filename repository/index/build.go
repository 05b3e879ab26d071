package index

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// errTooLarge: entries are numbered with 32 bits. 2^32 pages are 16 TiB.
var errTooLarge = errors.New("the index has more than 2^32 entries")

// builder fills a table file through a mapping, so that it needs no memory of
// its own however large the table is.
type builder struct {
	path string
	f    *os.File
	data []byte
	l    layout
	n    int // entries so far
	slot int // fan-out slots written so far
}

// newBuilder makes a file with room for that many entries.
func newBuilder(dir string, entries int, packs []packRef, sources []Source) (*builder, error) {
	if int64(entries) > math.MaxUint32 {
		return nil, errTooLarge
	}
	path := filepath.Join(dir, "."+hex.EncodeToString(randomName())+tmpSuffix)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	b := &builder{path: path, f: f, l: newLayout(entries, len(packs), len(sources))}
	// Space first: a page of a mapping that finds none is a SIGBUS.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, b.l.size()); err != nil {
		b.discard()
		return nil, &os.PathError{Op: "allocate", Path: path, Err: err}
	}
	b.data, err = unix.Mmap(int(f.Fd()), 0, int(b.l.size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.discard()
		return nil, err
	}
	for i, s := range sources {
		copy(b.data[headerSize+i*sourceSize:], s[:])
	}
	for i, p := range packs {
		at := b.data[b.l.packsAt()+int64(i)*packSize:]
		copy(at, p.id[:])
		binary.LittleEndian.PutUint64(at[16:], uint64(p.size))
	}
	return b, nil
}

type packRef struct {
	id   pack.ID
	size int64
}

func randomName() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return b
}

// add appends an entry; ids must come in order. One that is there is skipped.
func (b *builder) add(e []byte) {
	at := b.l.entriesAt()
	if b.n > 0 && bytes.Equal(b.data[at+int64(b.n-1)*entrySize:][:16], e[:16]) {
		return
	}
	id := page.ID(e[:16])
	b.fanTo(fanSlot(id, b.l.fanBits))
	filterAdd(b.data[b.l.filterAt():at], id)
	copy(b.data[at+int64(b.n)*entrySize:], e)
	b.n++
}

// fanTo notes that the slots up to and with this one begin at the next entry.
func (b *builder) fanTo(slot int) {
	for ; b.slot <= slot; b.slot++ {
		binary.LittleEndian.PutUint32(b.data[b.l.fanAt()+4*int64(b.slot):], uint32(b.n))
	}
}

// finish gives the file its name and maps it as a table.
func (b *builder) finish(key []byte) (*Table, error) {
	b.fanTo(1 << b.l.fanBits)
	b.l.entries = b.n
	b.l.put(b.data)
	sum := mac(key, b.data[:b.l.size()])
	copy(b.data[macAt:], sum[:])
	path := filepath.Join(filepath.Dir(b.path), hex.EncodeToString(sum[:16])+tableSuffix)
	err := b.f.Truncate(b.l.size())
	if err == nil {
		err = os.Rename(b.path, path) // not synced: a torn file does not authenticate
	}
	if err != nil {
		b.discard()
		return nil, err
	}
	err = errors.Join(unix.Munmap(b.data), b.f.Close())
	if err != nil {
		return nil, err
	}
	data, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	return newTable(path, data, b.l), nil
}

// discard removes an unfinished file. The first error is on its way already.
func (b *builder) discard() {
	if b.data != nil {
		_ = unix.Munmap(b.data)
	}
	_ = b.f.Close()
	_ = os.Remove(b.path)
}

const (
	tableSuffix = ".tab"
	tmpSuffix   = ".tmp"
)

// build makes a table of one index blob.
func build(dir string, key []byte, s Source, packs []pack.Contents) (*Table, error) {
	list := sortedEntries(packs)
	refs := make([]packRef, len(packs))
	for i, c := range packs {
		refs[i] = packRef{c.ID, c.Size}
	}
	b, err := newBuilder(dir, len(list), refs, []Source{s})
	if err != nil {
		return nil, err
	}
	for i := range list {
		b.add(list[i][:])
	}
	return b.finish(key)
}

// merge makes one table of several. Where an id is in more than one, the
// earlier table's place is kept.
func merge(dir string, key []byte, tables []*Table) (*Table, error) {
	var refs []packRef
	var sources []Source
	numbers := map[pack.ID]int{}
	entries := 0
	for _, t := range tables {
		sources = append(sources, t.Sources()...)
		entries += t.Len()
		for i := range t.l.packs {
			id, size := t.pack(i)
			if _, ok := numbers[id]; !ok {
				numbers[id] = len(refs)
				refs = append(refs, packRef{id, size})
			}
		}
	}
	b, err := newBuilder(dir, entries, refs, sources)
	if err != nil {
		return nil, err
	}
	next := make([]int, len(tables))
	for {
		least := -1
		for i, t := range tables {
			if next[i] < t.Len() && (least < 0 || bytes.Compare(t.entry(next[i])[:16], tables[least].entry(next[least])[:16]) < 0) {
				least = i
			}
		}
		if least < 0 {
			return b.finish(key)
		}
		t := tables[least]
		e := entry(t.entry(next[least]))
		next[least]++
		id, _ := t.pack(entryPack(e[:]))
		setEntryPack(e[:], numbers[id])
		b.add(e[:])
	}
}
