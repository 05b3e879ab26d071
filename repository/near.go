package repository

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

var _ snapline.Cached = (*Repository)(nil)

// Near implements snapline.Cached. It looks each page of the maps up in the
// index: 0.24 to 0.56 s for a GiB of different ones, on a machine of two cores with a
// load average of 16. Of the storage it reads roots and indexes, and never a pack:
// what is below a part of a map that is not here counts as not here.
func (r *Repository) Near(ctx context.Context, id snapline.SnapshotID, m snapline.MemberSnapshot) (snapline.Nearness, error) {
	var n snapline.Nearness
	here := r.packs.list()
	if len(here) == 0 {
		return n, nil
	}
	w := nearWalk{r: r, here: here, seen: map[frameKey]bool{}}
	err := w.member(ctx, id, m)
	if ctx.Err() != nil {
		err = nil // there was time for so much
	}
	if err != nil {
		err = fmt.Errorf("what is near of %s of %s: %w", m.Name, id, err)
	}
	return w.sum, err
}

// nearWalk adds up the frames that a member's data are in.
type nearWalk struct {
	r    *Repository
	here map[pack.ID]bool
	seen map[frameKey]bool
	sum  snapline.Nearness
}

func (w *nearWalk) member(ctx context.Context, id snapline.SnapshotID, m snapline.MemberSnapshot) error {
	rt, err := w.r.openRoot(ctx, id, m.Name, m.Object)
	if err == nil {
		err = w.root(ctx, rt)
	}
	for _, d := range m.Disks {
		if err != nil {
			return err
		}
		if rt, err = w.r.openDiskRoot(ctx, id, m.Name, d.Name, d.Object); err == nil {
			err = w.root(ctx, rt)
		}
	}
	return err
}

func (w *nearWalk) root(ctx context.Context, rt *root) error {
	nodes := fetch{w.r.shared(), pack.Nodes}
	h := w.r.hasher(pack.Nodes)
	for part, pm := range rt.Maps {
		load := func(id page.ID) ([]byte, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if loc, ok := w.r.index.Lookup(id); !ok || !w.add(loc) {
				return nil, nil // and so are its children
			}
			return nodes.node(ctx, h, id)
		}
		err := walkPages(pm, load, func(_ int64, id page.ID) error {
			if loc, ok := w.r.index.Lookup(id); ok {
				w.add(loc)
			}
			return nil
		})
		if err != nil {
			return rt.partError(part, err)
		}
	}
	return nil
}

// add counts a frame once, and reports whether it is here.
func (w *nearWalk) add(l index.Loc) bool {
	here, k := w.here[l.Pack], frameKey{l.Pack, l.Offset}
	if w.seen[k] {
		return here
	}
	w.seen[k] = true
	w.sum.Of += l.Length
	if here {
		w.sum.Bytes += l.Length
	}
	return here
}

// list returns the packs that are here.
func (c *packCache) list() map[pack.ID]bool {
	if c == nil {
		return nil
	}
	names, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	all := map[pack.ID]bool{}
	for _, n := range names {
		if b, err := hex.DecodeString(n.Name()); err == nil && len(b) == len(pack.ID{}) {
			all[pack.ID(b)] = true
		}
	}
	return all
}
