package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
)

// DefaultMaxWaste is a third: rewriting costs the used part, reading it and
// writing it; waste costs storage, and time in each restore.
const DefaultMaxWaste = 0.33

// Prune gives back the space of deleted snapshots and of rounds that were given
// up. No snapshot may be between its first Put and its Commit, and no other
// Prune may run, in any process: the caller excludes that; readers may go on,
// and are repeated where a pack has gone. What it deletes last, nothing refers
// to: killed at any moment it leaves the repository whole, and the next Prune
// finds what is left. It refuses to work when a committed snapshot cannot be
// read as far as the pages' names.
//
// With MaxRewrite a large one is done in steps: between two calls snapshots may
// be written.
func (r *Repository) Prune(ctx context.Context, o snapline.PruneOptions) (snapline.PruneReport, error) {
	if o.MaxWaste == 0 {
		o.MaxWaste = DefaultMaxWaste
	}
	p := &prune{r: r, o: o, allowed: allowedEvery(askEvery, o.Allowed)}
	err := p.run(ctx)
	if p.marks != nil {
		err = errors.Join(err, p.marks.table.Close())
	}
	if err != nil {
		return p.report, fmt.Errorf("prune %s: %w", r.store, r.full(err))
	}
	return p.report, nil
}

type prune struct {
	r      *Repository
	o      snapline.PruneOptions
	report snapline.PruneReport
	marks  *marks

	stale   []rootRef // of snapshots that do not exist
	givenUp map[snapline.SnapshotID]time.Time
	stored  map[pack.ID]int64 // packs in the storage
	indexes []index.Source    // those that there were
	fates   map[pack.ID]fate  // of packs that an index tells of
	dead    []pack.ID         // packs to delete in the end
	ghosts  bool              // an index tells of packs that are gone
	allowed func(context.Context) error
}

// fate is what becomes of a pack.
type fate byte

const (
	keep fate = iota
	rewrite
	drop
)

func (p *prune) run(ctx context.Context) error {
	if err := p.mark(ctx); err != nil {
		return err
	}
	if err := p.list(ctx); err != nil {
		return err
	}
	if err := p.plan(ctx); err != nil {
		return err
	}
	p.report.RootsDeleted = len(p.stale)
	if p.o.DryRun {
		return nil
	}
	if len(p.dead) > 0 || p.ghosts || len(p.indexes) > maxIndexes {
		if err := p.replace(ctx); err != nil {
			return err
		}
	}
	return p.sweep(ctx)
}

// maxIndexes is how many index blobs there may be before they are put
// together: a machine without a local index reads all of them.
const maxIndexes = 32

// mark finds out what is needed.
func (p *prune) mark(ctx context.Context) error {
	if err := p.r.trustIndex(ctx); err != nil {
		return err
	}
	err := p.markAll(ctx)
	if errors.Is(err, snapline.ErrDamaged) {
		// A pack that was missing may have been brought back.
		err = errors.Join(p.marks.table.Close(), p.r.relearnIndex(ctx))
		p.marks, p.stale = nil, nil
		if err == nil {
			err = p.markAll(ctx)
		}
	}
	return err
}

func (p *prune) markAll(ctx context.Context) error {
	t, err := p.r.index.Single()
	if err != nil {
		return err
	}
	p.marks = newMarks(t)
	ids, givenUp, err := p.r.listIDs(ctx)
	p.givenUp = givenUp
	if err != nil {
		return err
	}
	roots, err := p.r.listRoots(ctx)
	if err != nil {
		return err
	}
	for _, ref := range roots {
		if !slices.Contains(ids, ref.snapshot) || p.o.DryRun && slices.Contains(p.o.Without, ref.snapshot) {
			p.stale = append(p.stale, ref)
			continue
		}
		err := p.markRoot(ctx, ref)
		if errors.Is(err, snapline.ErrDamaged) && p.r.absent(ctx, ref.snapshot) == nil {
			continue // deleted meanwhile; the next prune frees it
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w; delete that snapshot first, or bring back what is missing", ref.object, ref.snapshot, err)
		}
	}
	return nil
}

func (p *prune) markRoot(ctx context.Context, ref rootRef) error {
	rt, _, err := p.r.anyRoot(ctx, ref.snapshot, ref.object)
	if err != nil {
		return err
	}
	var lost error
	err = p.r.markRoot(ctx, p.marks, rt, func(part int, i int64) {
		if lost == nil {
			lost = rt.partError(part, fmt.Errorf("%w: page %d is "+notIndexed, snapline.ErrDamaged, i))
		}
	})
	return errors.Join(err, lost)
}

// list finds out what is stored.
func (p *prune) list(ctx context.Context) error {
	p.stored, p.fates = map[pack.ID]int64{}, map[pack.ID]fate{}
	err := p.r.store.List(ctx, packPrefix, func(name string, size int64) error {
		if id, ok := parsePackName(name); ok {
			p.stored[id] = size
			p.report.Packs++
			p.report.Bytes += size
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.r.store.List(ctx, indexPrefix, func(name string, _ int64) error {
		if id, ok := parseHex(name, indexPrefix); ok {
			p.indexes = append(p.indexes, id)
		}
		return nil
	})
}

// eachPack goes through the old indexes, reading them again rather than to keep
// them in memory. use is called once for each pack.
func (p *prune) eachPack(ctx context.Context, use func(pack.Contents) error) error {
	seen := map[pack.ID]bool{}
	for _, src := range p.indexes {
		packs, err := p.r.fetchIndex(ctx, src)
		if err != nil {
			return err
		}
		for _, c := range packs {
			if seen[c.ID] {
				continue
			}
			seen[c.ID] = true
			if err := use(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan decides about every pack.
func (p *prune) plan(ctx context.Context) error {
	if err := p.eachPack(ctx, p.judge); err != nil {
		return err
	}
	for id := range p.stored { // in no index: its writer died, or a prune
		if _, ok := p.fates[id]; !ok {
			p.drop(id)
		}
	}
	slices.SortFunc(p.dead, func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) })
	return nil
}

func (p *prune) drop(id pack.ID) {
	p.dead = append(p.dead, id)
	p.report.PacksDeleted++
	p.report.BytesDeleted += p.stored[id]
}

// judge decides about one pack.
func (p *prune) judge(c pack.Contents) error {
	var used, all int64
	for _, f := range c.Frames {
		live := 0
		for slot, id := range f.IDs {
			if p.marks.at(id, c.ID, f.Offset, slot) {
				live++
			}
		}
		used += f.Length * int64(live) / int64(len(f.IDs))
		all += f.Length
	}
	size, exists := p.stored[c.ID]
	switch {
	case used > 0 && !exists:
		return fmt.Errorf("%w: %s is missing, and snapshots need it", snapline.ErrDamaged, packName(c.ID))
	case used == 0 && !exists:
		p.fates[c.ID] = drop
		p.ghosts = true
	case used == 0:
		p.fates[c.ID] = drop
		p.drop(c.ID)
	case float64(all-used) > p.o.MaxWaste*float64(all) && p.enough(used):
		p.fates[c.ID] = keep
		p.report.More = true
		p.report.BytesWasted += all - used
	case float64(all-used) > p.o.MaxWaste*float64(all):
		p.fates[c.ID] = rewrite
		p.dead = append(p.dead, c.ID)
		p.report.PacksRewritten++
		p.report.BytesDeleted += size
		p.report.BytesWritten += used
	default:
		p.fates[c.ID] = keep
		p.report.BytesWasted += all - used
	}
	return nil
}

// enough reports whether this call has written its share, if so many bytes come
// on top. A first pack is always written, so that every call gets on.
func (p *prune) enough(more int64) bool {
	return p.o.MaxRewrite > 0 && p.report.BytesWritten > 0 && p.report.BytesWritten+more > p.o.MaxRewrite
}

// delete removes a blob if that is still ours to do.
func (p *prune) delete(ctx context.Context, name string) error {
	if err := p.allowed(ctx); err != nil {
		return err
	}
	return p.r.store.Delete(ctx, name)
}

// sweep deletes what nothing refers to any more.
func (p *prune) sweep(ctx context.Context) error {
	for _, ref := range p.stale {
		if err := p.delete(ctx, ref.name()); err != nil {
			return err
		}
	}
	for _, id := range p.dead {
		if err := p.delete(ctx, packName(id)); err != nil {
			return err
		}
	}
	return p.forgetGivenUp(ctx)
}
