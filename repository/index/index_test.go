package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

var key = bytes.Repeat([]byte{7}, 32)

// id is a page id that looks like a hash.
func id(n uint64) page.ID {
	r := rand.NewPCG(n, 3)
	var p page.ID
	binary.BigEndian.PutUint64(p[:], r.Uint64())
	binary.BigEndian.PutUint64(p[8:], r.Uint64())
	return p
}

func src(n byte) Source { return Source{n, n, n} }

// contents is a pack of n objects, counted from first, 50 to a frame.
func contents(name byte, first, n uint64) pack.Contents {
	c := pack.Contents{ID: pack.ID{name}, Size: int64(n)*100 + 1000}
	for i := uint64(0); i < n; i += 50 {
		f := pack.Frame{Kind: pack.Pages, Offset: int64(32 + i*100), Length: 5000}
		for k := i; k < min(i+50, n); k++ {
			f.IDs = append(f.IDs, id(first+k))
		}
		c.Frames = append(c.Frames, f)
	}
	return c
}

func open(t *testing.T, dir string) *Set {
	t.Helper()
	s, err := Open(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// want checks where object n of all packs is.
func want(t *testing.T, s *Set, c pack.Contents, first, n uint64) {
	t.Helper()
	for i := range n {
		l, ok := s.Lookup(id(first + i))
		f := c.Frames[i/50]
		w := Loc{Pack: c.ID, PackSize: c.Size, Offset: f.Offset, Length: f.Length, Slot: int(i % 50)}
		if !ok || l != w {
			t.Fatalf("object %d is at %+v (%v), want %+v", first+i, l, ok, w)
		}
	}
}

func TestSet(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var list []Source
	var packs []pack.Contents
	const each = 1234
	for n := range byte(3 * maxTables) {
		c := contents(n+1, uint64(n)*each, each)
		if err := s.Add(src(n), []pack.Contents{c}); err != nil {
			t.Fatal(err)
		}
		list, packs = append(list, src(n)), append(packs, c)
	}
	if n := len(s.snapshot()); n > maxTables {
		t.Errorf("%d tables", n)
	}
	if err := s.Add(src(1), nil); err != nil { // known
		t.Fatal(err)
	}
	check := func(s *Set) {
		t.Helper()
		for n, c := range packs {
			want(t, s, c, uint64(n)*each, each)
		}
		for i := range uint64(10_000) {
			if _, ok := s.Lookup(id(1<<40 + i)); ok {
				t.Fatal("found what is not there")
			}
		}
	}
	check(s)
	found := make([]bool, 2)
	if s.Has([]page.ID{id(5), id(1 << 50)}, found); !found[0] || found[1] {
		t.Errorf("Has says %v", found)
	}
	again := open(t, dir) // another process
	fetch := func(context.Context, Source) ([]pack.Contents, error) { return nil, errors.New("all is there") }
	if err := again.Sync(t.Context(), list, fetch); err != nil {
		t.Fatal(err)
	}
	check(again)
	one, err := again.Single()
	if err != nil || one.Len() != len(packs)*each || one.Packs() != len(packs) {
		t.Fatalf("%d entries, %v", one.Len(), err)
	}
	check(again)
	// A prune has put others in their place.
	c := contents(99, 7, 70)
	if err := again.Sync(t.Context(), []Source{src(200)}, func(context.Context, Source) ([]pack.Contents, error) {
		return []pack.Contents{c}, nil
	}); err != nil {
		t.Fatal(err)
	}
	want(t, again, c, 7, 70)
	if _, ok := again.Lookup(id(0)); ok {
		t.Error("found what was pruned")
	}
	if _, ok := one.Find(id(0)); !ok {
		t.Error("a table in use has gone")
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Sync(t.Context(), nil, fetch); err != nil || len(again.snapshot()) != 0 {
		t.Errorf("an empty repository: %v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > len(s.snapshot()) {
		t.Errorf("left in the directory: %q", names)
	}
}

// TestAlteredTable: whoever could alter it could make pages seem to be stored.
func TestAlteredTable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Add(src(1), []pack.Contents{contents(1, 0, 40)}); err != nil {
		t.Fatal(err)
	}
	path := s.snapshot()[0].path
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.tab")
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openTable(bad, key); err == nil {
			t.Fatalf("byte %d of %d is altered, nobody notices", i, len(good))
		}
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "x.tab"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(other, bytes.Repeat([]byte{8}, 32)); err != nil || len(s.snapshot()) != 0 {
		t.Errorf("another repository's table: %v", err)
	}
}

func TestFilter(t *testing.T) {
	const n = 100_000
	filter := make([]byte, filterSize(n))
	for i := range uint64(n) {
		filterAdd(filter, id(i))
	}
	wrong := 0
	for i := range uint64(n) {
		if !filterHas(filter, id(i)) {
			t.Fatal("it forgets")
		}
		if filterHas(filter, id(1<<40+i)) {
			wrong++
		}
	}
	if wrong > n*3/100 {
		t.Errorf("%d of %d are looked up for nothing", wrong, n)
	}
}

func TestEmptyAndHuge(t *testing.T) {
	s := open(t, t.TempDir())
	one, err := s.Single()
	if err != nil || one.Len() != 0 {
		t.Fatalf("%v", err)
	}
	defer one.Close()
	if _, ok := one.Find(id(1)); ok {
		t.Error("found something in nothing")
	}
	if _, err := newBuilder(t.TempDir(), 1<<33, nil, nil); !errors.Is(err, errTooLarge) {
		t.Errorf("2^33 entries: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, ".x"+tmpSuffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Clean(s.dir); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(s.dir); slices.ContainsFunc(names, func(d os.DirEntry) bool { return filepath.Ext(d.Name()) == tmpSuffix }) {
		t.Error("unfinished files are left")
	}
}

func FuzzLayout(f *testing.F) {
	dir := f.TempDir()
	t, err := build(dir, key, src(1), []pack.Contents{contents(1, 0, 20)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(t.data))
	if err := t.Close(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLayout(b)
		if err != nil {
			return
		}
		newTable("", b, l).Sources() // must not reach beyond the file
	})
}

func BenchmarkLookup(b *testing.B) {
	s, err := Open(b.TempDir(), key)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const n = 1 << 18
	for k := range byte(8) {
		if err := s.Add(src(k), []pack.Contents{contents(k, uint64(k)*n/8, n/8)}); err != nil {
			b.Fatal(err)
		}
	}
	for name, first := range map[string]uint64{"there": 0, "new": 1 << 40} {
		b.Run(name, func(b *testing.B) {
			ids, found := make([]page.ID, 256), make([]bool, 256)
			for i := range ids {
				ids[i] = id(first + uint64(i)*997)
			}
			for b.Loop() {
				s.Has(ids, found)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ids)), "ns/page")
		})
	}
}
