package repository

import (
	"context"
	"fmt"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/pagemap"
)

// marks are the objects that snapshots need: one bit for each entry of the
// index, 32 KiB of memory for each GiB of different pages.
type marks struct {
	table *index.Table
	bits  []uint64
}

func newMarks(t *index.Table) *marks {
	return &marks{t, make([]uint64, (t.Len()+63)/64)}
}

// mark returns whether the object is in the index, and whether it is new to us.
func (m *marks) mark(id page.ID) (known, first bool) {
	i, ok := m.table.Find(id)
	if !ok {
		return false, false
	}
	bit := uint64(1) << (i % 64)
	first = m.bits[i/64]&bit == 0
	m.bits[i/64] |= bit
	return true, first
}

// at reports whether the object is needed and this is the place where the
// index has it.
func (m *marks) at(id page.ID, p pack.ID, offset int64, slot int) bool {
	i, ok := m.table.Find(id)
	if !ok || m.bits[i/64]>>(i%64)&1 == 0 {
		return false
	}
	_, loc := m.table.At(i)
	return loc.Pack == p && loc.Offset == offset && loc.Slot == slot
}

// rootRef names a root blob.
type rootRef struct {
	snapshot snapline.SnapshotID
	object   string
	size     int64
}

func (r rootRef) name() string { return rootName(r.snapshot, r.object) }

// listRoots returns all roots, those of one snapshot together.
func (r *Repository) listRoots(ctx context.Context) (list []rootRef, err error) {
	err = r.store.List(ctx, rootPrefix, func(name string, size int64) error {
		snapshot, object, ok := strings.Cut(strings.TrimPrefix(name, rootPrefix), "/")
		if ok && checkID(snapline.SnapshotID(snapshot)) == nil {
			list = append(list, rootRef{snapline.SnapshotID(snapshot), object, size})
		}
		return nil
	})
	return list, err
}

// markRoot marks what a root needs. missing is told of pages that are in no
// index; a map that cannot be read is an error.
func (r *Repository) markRoot(ctx context.Context, m *marks, rt *root, missing func(part int, i int64)) error {
	nodes := fetch{r.shared(), pack.Nodes}
	h := r.hasher(pack.Nodes)
	for part, pm := range rt.Maps {
		load := func(id page.ID) ([]byte, error) {
			if known, first := m.mark(id); known && !first {
				return nil, nil // and so are its children
			}
			return nodes.node(ctx, h, id)
		}
		err := walkPages(pm, load, func(i int64, id page.ID) error {
			if known, _ := m.mark(id); !known {
				missing(part, i)
			}
			return ctx.Err()
		})
		if err != nil {
			return rt.partError(part, err)
		}
	}
	return nil
}

// walkPages tells of every stored page of a map, in order.
func walkPages(pm pageMap, load func(page.ID) ([]byte, error), each func(i int64, id page.ID) error) error {
	return pagemap.Walker{
		Load: load,
		Leaf: func(first int64, ids []page.ID) error {
			for i, id := range ids {
				if id.Stored() {
					if err := each(first+int64(i), id); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Uniform: func(int64, int64, page.ID) error { return nil },
	}.Walk(pm.Root, pm.pages())
}

// partError says which part of the machine or disk it was.
func (rt *root) partError(part int, err error) error {
	if s := rt.part(part); s != "" {
		return fmt.Errorf("%s: %w", s, err)
	}
	return err
}

func (rt *root) part(n int) string {
	switch {
	case rt.Kind == kindDisk:
		return "disk"
	case rt.Kind != kindQEVM:
		return ""
	case n < len(rt.Head.Blocks):
		return "RAM block " + rt.Head.Blocks[n].Name
	}
	return "device state"
}
