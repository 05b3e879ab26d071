package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// VerifyQuick looks at a member's data without reading its pages: root and page
// maps are read and authenticated, every page must be in an index, and every
// pack that holds one must be there in its length. A flipped bit in a page it
// does not see: Verify does.
func (r *Repository) VerifyQuick(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) error {
	rt, err := r.openRoot(ctx, id, m, o)
	if err == nil {
		err = r.verifyQuick(ctx, rt)
	}
	if err != nil {
		return fmt.Errorf("verify %s of %s: %w", m, id, err)
	}
	return nil
}

// VerifyDiskQuick does for a disk what VerifyQuick does for a stream.
func (r *Repository) VerifyDiskQuick(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string, o snapline.Object) error {
	rt, err := r.openDiskRoot(ctx, id, m, disk, o)
	if err == nil {
		err = r.verifyQuick(ctx, rt)
	}
	if err != nil {
		return fmt.Errorf("verify disk %s of %s of %s: %w", disk, m, id, err)
	}
	return nil
}

func (r *Repository) verifyQuick(ctx context.Context, rt *root) error {
	if err := r.trustIndex(ctx); err != nil {
		return err
	}
	packs := map[pack.ID]error{}
	for part := range rt.Maps {
		err := r.eachLoc(ctx, rt.Maps[part], func(i int64, l index.Loc) error {
			err, known := packs[l.Pack]
			if !known {
				err = r.packThere(ctx, l)
				packs[l.Pack] = err
			}
			if err != nil {
				return fmt.Errorf("page %d: %w", i, err)
			}
			return nil
		})
		if err != nil {
			return rt.partError(part, err)
		}
	}
	return nil
}

func (r *Repository) packThere(ctx context.Context, l index.Loc) error {
	size, err := r.store.Size(ctx, packName(l.Pack))
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return fmt.Errorf("%w: %s is missing", snapline.ErrDamaged, packName(l.Pack))
	case err == nil && size != l.PackSize:
		return fmt.Errorf("%w: %s has %d bytes, not %d", snapline.ErrDamaged, packName(l.Pack), size, l.PackSize)
	}
	return err
}

// eachLoc tells where every stored page of a map is.
func (r *Repository) eachLoc(ctx context.Context, pm pageMap, each func(i int64, l index.Loc) error) error {
	nodes := fetch{r.fresh(), pack.Nodes}
	h := r.hasher(pack.Nodes)
	return walkPages(pm, func(id page.ID) ([]byte, error) { return nodes.node(ctx, h, id) }, func(i int64, id page.ID) error {
		l, ok := r.index.Lookup(id)
		if !ok {
			return fmt.Errorf("%w: page %d is "+notIndexed, snapline.ErrDamaged, i)
		}
		return each(i, l)
	})
}
