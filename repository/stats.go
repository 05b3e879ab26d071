package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/snapline/snapline"
)

// Stats are a repository's sizes, in bytes where nothing else is said.
type Stats struct {
	ID        string `json:"id"`
	Location  string `json:"location"`
	Format    int    `json:"format"`
	Snapshots int    `json:"snapshots"`
	// RawBytes is what the snapshots' streams had, all together.
	RawBytes   int64 `json:"raw_bytes"`
	Packs      int   `json:"packs"`
	PackBytes  int64 `json:"pack_bytes"`
	Indexes    int   `json:"indexes"`
	IndexBytes int64 `json:"index_bytes"`
	OtherBytes int64 `json:"other_bytes"` // roots, records, keys
	// Objects are the different pages and page map nodes.
	Objects int `json:"objects"`
	// CacheBytes is what the index takes on this machine.
	CacheBytes int64 `json:"cache_bytes"`
}

// Stats reads records and indexes, and lists everything.
func (r *Repository) Stats(ctx context.Context) (Stats, error) {
	s := Stats{ID: r.id, Location: r.store.String(), Format: Format}
	err := r.store.List(ctx, "", func(name string, size int64) error {
		switch {
		case strings.HasPrefix(name, packPrefix):
			s.Packs++
			s.PackBytes += size
		case strings.HasPrefix(name, indexPrefix):
			s.Indexes++
			s.IndexBytes += size
		default:
			s.OtherBytes += size
		}
		return nil
	})
	if err == nil {
		err = r.syncIndex(ctx)
	}
	if err != nil {
		return s, fmt.Errorf("repository %s: %w", r.store, err)
	}
	t, err := r.index.Single()
	if err != nil {
		return s, err
	}
	s.Objects = t.Len()
	s.CacheBytes = r.index.Size()
	if err := t.Close(); err != nil {
		return s, err
	}
	list, err := r.List(ctx)
	for _, snap := range list {
		s.Snapshots++
		for _, o := range objects(snap) {
			s.RawBytes += o.RawBytes
		}
	}
	if errors.Is(err, snapline.ErrDamaged) {
		err = nil // Check is for that
	}
	return s, err
}
