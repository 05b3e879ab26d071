package repository

import (
	"sync"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// packer finds out which objects are new and puts them into frames. It is for
// one goroutine.
type packer struct {
	in     *ingest
	hasher func([]byte) page.ID
	pages  *framed
	nodes  *framed
	ids    []page.ID
	found  []bool
}

// framed is a frame on its way: objects, then compressed.
type framed struct {
	kind    pack.Kind
	ids     []page.ID
	objects []byte
	packed  []byte
}

func newPacker(in *ingest) *packer {
	return &packer{in: in, hasher: in.r.hasher(pack.Nodes).Sum}
}

// batch notes what the pages are, and keeps the new ones.
func (p *packer) batch(b *batch) error {
	p.ids = p.ids[:0]
	for _, it := range b.items {
		p.ids = append(p.ids, it.id)
	}
	if len(p.found) < len(p.ids) {
		p.found = make([]bool, batchItems)
	}
	if len(b.data) > 0 {
		p.in.r.index.Has(p.ids, p.found)
	}
	at := 0
	for i, it := range b.items {
		if err := b.maps[it.m].Set(it.index, it.id); err != nil {
			return err
		}
		if !it.data {
			continue
		}
		data := b.data[at:][:page.Size]
		at += page.Size
		if it.id.Stored() && !p.found[i] {
			if err := p.add(pack.Pages, &p.pages, it.id, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// node stores a node of a page map, if it is new.
func (p *packer) node(b []byte) (page.ID, error) {
	id := p.hasher(b)
	found := [1]bool{}
	p.in.r.index.Has([]page.ID{id}, found[:])
	if found[0] {
		return id, nil
	}
	return id, p.add(pack.Nodes, &p.nodes, id, b)
}

// frame returns the place of the frame of that kind that is being filled.
func (p *packer) frame(k pack.Kind) **framed {
	if k == pack.Nodes {
		return &p.nodes
	}
	return &p.pages
}

// add puts an object into the frame unless this stream had it before.
func (p *packer) add(k pack.Kind, f **framed, id page.ID, data []byte) error {
	if !p.in.up.claims.claim(id) {
		return nil
	}
	if *f == nil {
		*f, _ = p.in.r.frameBuffers.Get().(*framed)
		if *f == nil {
			*f = &framed{objects: make([]byte, 0, pack.FrameObjects*k.ObjectSize())}
		}
		// The ids stay with the pack's contents.
		**f = framed{kind: k, ids: make([]page.ID, 0, pack.FrameObjects), objects: (*f).objects[:0], packed: (*f).packed[:0]}
	}
	(*f).ids = append((*f).ids, id)
	(*f).objects = append((*f).objects, data...)
	if len((*f).ids) < pack.FrameObjects {
		return nil
	}
	return p.emit(f)
}

// emit sends a frame on.
func (p *packer) emit(f **framed) error {
	done := *f
	*f = nil
	t, err := give(p.in.w, func() *framed {
		done.packed = p.in.r.codec.Compress(done.packed[:0], done.objects)
		return done
	})
	if err != nil {
		return err
	}
	return send(p.in.ctx, p.in.frames, t)
}

// flush sends on what has been begun.
func (p *packer) flush() error {
	for _, f := range []**framed{&p.pages, &p.nodes} {
		if *f != nil {
			if err := p.emit(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// claims are the objects that this stream stores and the index does not know
// yet.
type claims struct {
	mu sync.Mutex
	m  map[page.ID]struct{}
}

// claim reports whether nobody had it before.
func (c *claims) claim(id page.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.m)
	c.m[id] = struct{}{}
	return len(c.m) > n
}

// release forgets what the index knows now.
func (c *claims) release(packs []pack.Contents) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range packs {
		for _, f := range p.Frames {
			for _, id := range f.IDs {
				delete(c.m, id)
			}
		}
	}
}
