package pagemap

import (
	"fmt"

	"github.com/snapline/snapline/repository/page"
)

// Fanout is the number of ids in a node.
const Fanout = 64

// NodeSize is the length of a node in bytes.
const NodeSize = Fanout * len(page.ID{})

// MaxPages bounds a map: 2^42 pages, 16 PiB.
const MaxPages = 1 << 42

// span returns how many pages the children of the root of a map of that many
// pages stand for each.
func span(pages int64) int64 {
	s := int64(1)
	for s*Fanout < pages {
		s *= Fanout
	}
	return s
}

// Put stores a node and returns its id. The bytes are good until it returns.
type Put func(node []byte) (page.ID, error)

// Build stores the tree of a map of that many pages, whose page i is at(i), and
// returns its root.
func Build(pages int64, at func(i int64) page.ID, put Put) (page.ID, error) {
	if pages == 0 {
		return page.Absent, nil
	}
	return build(0, pages, span(pages), at, put)
}

func build(first, pages, span int64, at func(int64) page.ID, put Put) (page.ID, error) {
	var node [NodeSize]byte
	uniform := true
	var same page.ID
	for k := range int64(Fanout) {
		i := first + k*span
		if i >= pages {
			break
		}
		var id page.ID
		var err error
		if span == 1 {
			id = at(i)
		} else if id, err = build(i, pages, span/Fanout, at, put); err != nil {
			return id, err
		}
		if k == 0 {
			same = id
		}
		uniform = uniform && id == same && !id.Stored()
		copy(node[k*int64(len(id)):], id[:])
	}
	if uniform {
		return same, nil
	}
	return put(node[:])
}

// Walker goes through a tree in the order of pages.
type Walker struct {
	// Load returns a node, good until the next call. No node and no error: the
	// walk goes past it.
	Load func(id page.ID) ([]byte, error)
	// Leaf is told of the pages first, first+1, …
	Leaf func(first int64, ids []page.ID) error
	// Uniform is told of n pages that are all absent or full of one byte.
	Uniform func(first, n int64, id page.ID) error
}

// Walk goes through the tree of a map of that many pages.
func (w Walker) Walk(root page.ID, pages int64) error {
	if pages == 0 {
		return nil
	}
	return w.walk(root, 0, pages, span(pages))
}

func (w Walker) walk(id page.ID, first, pages, span int64) error {
	n := min(span*Fanout, pages-first)
	if !id.Stored() {
		return w.Uniform(first, n, id)
	}
	node, err := w.Load(id)
	if err != nil {
		return fmt.Errorf("map of pages %d to %d: %w", first, first+n-1, err)
	}
	if node == nil {
		return nil
	}
	if len(node) != NodeSize {
		return fmt.Errorf("map of pages %d to %d: a node of %d bytes", first, first+n-1, len(node))
	}
	ids := make([]page.ID, (n+span-1)/span)
	for k := range ids {
		copy(ids[k][:], node[k*len(id):])
	}
	if span == 1 {
		return w.Leaf(first, ids)
	}
	for k, child := range ids {
		if err := w.walk(child, first+int64(k)*span, pages, span/Fanout); err != nil {
			return err
		}
	}
	return nil
}
