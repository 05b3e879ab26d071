package node_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/snapline/snapline"
)

var _ snapline.Maintainer = (*watchedRepo)(nil)

// maintenance is what a test wants of a watchedRepo's Prune, and what became of
// it.
type maintenance struct {
	mu sync.Mutex
	// prunes and repairs count the calls that changed something.
	prunes, repairs int
	// inside, if not nil, is called in the middle of a prune.
	inside func(ctx context.Context, step int, o snapline.PruneOptions) (more bool, err error)
	// clash is the first thing that was wrong.
	clash string
}

func (r *watchedRepo) Location() string { return "memory" }

// Prune finds out whether somebody writes meanwhile: what it would take away
// from under a round.
func (r *watchedRepo) Prune(ctx context.Context, o snapline.PruneOptions) (snapline.PruneReport, error) {
	if o.DryRun {
		return snapline.PruneReport{Packs: 1, PacksDeleted: len(o.Without)}, nil
	}
	m := &r.upkeep
	m.mu.Lock()
	m.prunes++
	step, inside := m.prunes, m.inside
	m.mu.Unlock()
	r.alone(ctx)
	more := false
	if inside != nil {
		var err error
		if more, err = inside(ctx, step, o); err != nil {
			return snapline.PruneReport{}, err
		}
	}
	r.alone(ctx)
	return snapline.PruneReport{Packs: 1, Bytes: 100, BytesDeleted: 10, More: more}, nil
}

func (r *watchedRepo) RepairIndex(ctx context.Context, allowed func(context.Context) error) (int, error) {
	r.alone(ctx)
	if err := allowed(ctx); err != nil {
		return 0, err
	}
	m := &r.upkeep
	m.mu.Lock()
	defer m.mu.Unlock()
	m.repairs++
	return 1, nil
}

// alone notes data of a snapshot that has not been committed.
func (r *watchedRepo) alone(ctx context.Context) {
	r.mu.Lock()
	var held []snapline.SnapshotID
	for id := range r.held {
		held = append(held, id)
	}
	r.mu.Unlock()
	for _, id := range held {
		if _, err := r.Snapshot(ctx, id); err != nil {
			m := &r.upkeep
			m.mu.Lock()
			m.clash = fmt.Sprintf("maintenance while %s is being written", id)
			m.mu.Unlock()
		}
	}
}
