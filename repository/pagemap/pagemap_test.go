package pagemap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/snapline/snapline/repository/page"
)

// nodes is a store of nodes in memory.
type nodes map[page.ID][]byte

func (n nodes) put(b []byte) (page.ID, error) {
	sum := sha256.Sum256(b)
	id := page.ID(sum[:16])
	n[id] = bytes.Clone(b)
	return id, nil
}

func (n nodes) load(id page.ID) ([]byte, error) {
	b, ok := n[id]
	if !ok {
		return nil, errors.New("no such node")
	}
	return b, nil
}

// read walks a tree into a slice.
func read(t interface{ Fatal(...any) }, n nodes, root page.ID, pages int64) []page.ID {
	out := make([]page.ID, 0, pages)
	at := func(first int64) {
		if first != int64(len(out)) {
			t.Fatal("out of order at ", first)
		}
	}
	err := Walker{
		Load: n.load,
		Leaf: func(first int64, ids []page.ID) error { at(first); out = append(out, ids...); return nil },
		Uniform: func(first, k int64, id page.ID) error {
			at(first)
			for range k {
				out = append(out, id)
			}
			return nil
		},
	}.Walk(root, pages)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func stored(n byte) page.ID { return page.ID{n, 1, 2, 3, 4, 5} }

func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := rapid.OneOf(rapid.Int64Range(0, 200), rapid.Int64Range(4000, 4200), rapid.SampledFrom([]int64{64, 4096, 4097, 262144, 262145})).Draw(t, "pages")
		m := make([]page.ID, pages)
		for range rapid.IntRange(0, 20).Draw(t, "runs") {
			if pages == 0 {
				break
			}
			from := rapid.Int64Range(0, pages-1).Draw(t, "from")
			n := rapid.Int64Range(1, pages-from).Draw(t, "length")
			id := rapid.SampledFrom([]page.ID{page.Absent, page.Fill(0), page.Fill(9), stored(1), stored(2)}).Draw(t, "id")
			for i := from; i < from+n; i++ {
				m[i] = id
			}
		}
		store := nodes{}
		root, err := Build(pages, func(i int64) page.ID { return m[i] }, store.put)
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, store, root, pages)
		for i := range m {
			if got[i] != m[i] {
				t.Fatalf("page %d is %s, want %s", i, got[i], m[i])
			}
		}
	})
}

// TestCost: zeros cost nothing, and a changed page a node at each level.
func TestCost(t *testing.T) {
	const pages = 1 << 24 // 64 GiB
	store := nodes{}
	at := func(i int64) page.ID {
		if i == 12345678 {
			return stored(1)
		}
		return page.Fill(0)
	}
	if root, err := Build(pages, func(int64) page.ID { return page.Fill(0) }, store.put); err != nil || len(store) != 0 || root != page.Fill(0) {
		t.Errorf("zeros take %d nodes", len(store))
	}
	if _, err := Build(pages, at, store.put); err != nil || len(store) != 4 {
		t.Errorf("one page takes %d nodes", len(store))
	}
}

func TestScratch(t *testing.T) {
	s, err := NewScratch(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Grow(10); err != nil || s.Pages() != 10 || s.At(9) != page.Absent {
		t.Fatalf("%d pages, %v", s.Pages(), err)
	}
	for i := int64(0); i < 100_000; i += 7 {
		if err := s.Set(i, stored(byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.Pages() {
		if w := stored(byte(i)); i%7 == 0 && s.At(i) != w || i%7 != 0 && s.At(i) != page.Absent {
			t.Fatalf("page %d is %s", i, s.At(i))
		}
	}
	if err := s.Grow(MaxPages + 1); err == nil {
		t.Error("grew beyond all bounds")
	}
}

// FuzzWalk: whatever the nodes are, a walk ends and stays inside.
func FuzzWalk(f *testing.F) {
	f.Add(int64(5000), bytes.Repeat([]byte{1}, NodeSize))
	f.Add(int64(64), []byte{1})
	f.Fuzz(func(t *testing.T, pages int64, node []byte) {
		pages = pages & 0xffff
		seen := int64(0)
		_ = Walker{ // an error is fine
			Load:    func(page.ID) ([]byte, error) { return node, nil },
			Leaf:    func(first int64, ids []page.ID) error { seen += int64(len(ids)); return nil },
			Uniform: func(_, n int64, _ page.ID) error { seen += n; return nil },
		}.Walk(stored(1), pages)
		if seen > pages {
			t.Fatalf("%d pages of %d", seen, pages)
		}
	})
}
