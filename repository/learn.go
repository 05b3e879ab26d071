package repository

import (
	"context"
	"sync"

	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
)

// An index may tell of packs that are gone: an agent that nobody can reach may
// write the index of a round that was given up, after a prune has deleted the
// round's packs. Nothing can be committed by that, but pages must not be taken
// for stored. So packs that are not there are left out of what we learn; and
// since a pack's name is random and never used again, that stays right. They
// are looked for after the indexes are listed: a pack that an index tells of was
// written before it.

// listIndexes returns the index blobs that there are.
func (r *Repository) listIndexes(ctx context.Context) (list []index.Source, err error) {
	err = r.store.List(ctx, indexPrefix, func(name string, _ int64) error {
		if id, ok := parseHex(name, indexPrefix); ok {
			list = append(list, id)
		}
		return nil
	})
	return list, err
}

// listPacks returns the packs that there are, with their sizes.
func (r *Repository) listPacks(ctx context.Context) (map[pack.ID]int64, error) {
	stored := map[pack.ID]int64{}
	err := r.store.List(ctx, packPrefix, func(name string, size int64) error {
		if id, ok := parsePackName(name); ok {
			stored[id] = size
		}
		return nil
	})
	return stored, err
}

// syncIndex makes our own index know what all writers have stored. It is enough
// for whoever reads, and asks again when something cannot be found.
func (r *Repository) syncIndex(ctx context.Context) error {
	list, err := r.listIndexes(ctx)
	if err != nil {
		return err
	}
	packs := sync.OnceValues(func() (map[pack.ID]int64, error) { return r.listPacks(ctx) })
	return r.index.Sync(ctx, list, r.fetchStored(packs))
}

// trustIndex is syncIndex that also forgets what our own index knows of packs
// that are gone: whoever refers to a page by it must know that it is there.
func (r *Repository) trustIndex(ctx context.Context) error {
	list, err := r.listIndexes(ctx)
	if err != nil {
		return err
	}
	known := r.index.Packs()
	stored, err := r.listPacks(ctx)
	if err != nil {
		return err
	}
	gone := map[pack.ID]bool{}
	for _, id := range known {
		if _, ok := stored[id]; !ok {
			gone[id] = true
		}
	}
	r.index.Forget(gone)
	return r.index.Sync(ctx, list, r.fetchStored(func() (map[pack.ID]int64, error) { return stored, nil }))
}

// relearnIndex makes our own index anew, so that it knows also packs that were
// missing once and have been brought back.
func (r *Repository) relearnIndex(ctx context.Context) error {
	if err := r.index.Sync(ctx, nil, r.fetchIndex); err != nil {
		return err
	}
	return r.syncIndex(ctx)
}

// fetchStored is fetchIndex without the packs that are gone. stored must be
// listed after the indexes.
func (r *Repository) fetchStored(stored func() (map[pack.ID]int64, error)) index.Fetch {
	return func(ctx context.Context, src index.Source) ([]pack.Contents, error) {
		packs, err := r.fetchIndex(ctx, src)
		if err != nil {
			return nil, err
		}
		there, err := stored()
		if err != nil {
			return nil, err
		}
		kept := packs[:0]
		for _, p := range packs {
			if _, ok := there[p.ID]; ok {
				kept = append(kept, p)
			}
		}
		return kept, nil
	}
}
