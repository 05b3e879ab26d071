package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
)

// RepairIndex makes the index anew from the footers of the packs, and returns
// how many packs it knows now; what is wrong with the others comes in the
// error. Pages of lost packs are then known to be missing, and are stored again
// when a machine has them. No Put and no Prune may run meanwhile; allowed, if
// not nil, is asked before something is deleted, and an error ends it.
func (r *Repository) RepairIndex(ctx context.Context, allowed func(context.Context) error) (packs int, err error) {
	packs, bad, err := r.repairIndex(ctx, allowedEvery(askEvery, allowed))
	if err = errors.Join(err, errors.Join(bad...)); err != nil {
		return packs, fmt.Errorf("repair index of %s: %w", r.store, err)
	}
	return packs, nil
}

func (r *Repository) repairIndex(ctx context.Context, allowed func(context.Context) error) (n int, bad []error, err error) {
	var old []index.Source
	if err := r.store.List(ctx, indexPrefix, func(name string, _ int64) error {
		if id, ok := parseHex(name, indexPrefix); ok {
			old = append(old, id)
		}
		return nil
	}); err != nil {
		return 0, nil, err
	}
	var list []pack.Contents
	objects := 0
	flush := func() error {
		if len(list) == 0 {
			return nil
		}
		_, _, err := r.storeIndex(ctx, list)
		list, objects = nil, 0
		return err
	}
	err = r.store.List(ctx, packPrefix, func(name string, size int64) error {
		id, ok := parsePackName(name)
		if !ok {
			return nil
		}
		c, err := r.footer(ctx, id, size)
		if errors.Is(err, snapline.ErrDamaged) {
			bad = append(bad, err)
			return nil
		}
		if err != nil {
			return err
		}
		n++
		list = append(list, c)
		if objects += c.Objects(); objects < indexObjects {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return n, bad, err
	}
	for _, src := range old { // everything they knew of is in the new ones
		if err := allowed(ctx); err != nil {
			return n, bad, err
		}
		if err := r.store.Delete(ctx, indexName(src)); err != nil {
			return n, bad, err
		}
	}
	return n, bad, r.syncIndex(ctx)
}

// footer reads what a pack says of itself.
func (r *Repository) footer(ctx context.Context, id pack.ID, size int64) (pack.Contents, error) {
	var none pack.Contents
	name := packName(id)
	fail := func(err error) (pack.Contents, error) {
		if errors.Is(err, blob.ErrShort) {
			err = damaged(err)
		}
		return none, fmt.Errorf("%s: %w", name, err)
	}
	if size < pack.TrailerSize {
		return fail(fmt.Errorf("%w: it has %d bytes", snapline.ErrDamaged, size))
	}
	trailer, err := readRange(ctx, r.store, name, size-pack.TrailerSize, pack.TrailerSize)
	if err != nil {
		return fail(err)
	}
	offset, length, err := pack.FooterRange(size, trailer)
	if err != nil {
		return fail(damaged(err))
	}
	sealed, err := readRange(ctx, r.store, name, offset, length)
	if err != nil {
		return fail(err)
	}
	c, err := pack.OpenFooter(r.master, id, size, offset, sealed)
	if err != nil {
		return fail(damaged(err))
	}
	return c, nil
}
