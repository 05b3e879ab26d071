package bustest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/snapline/snapline"
)

var _ snapline.Store = (*Store)(nil)

// Store is a snapline.Store in memory. It survives the coordinator that uses
// it, but not the process.
type Store struct {
	mu       sync.Mutex
	away     bool
	values   map[string]versioned
	revision uint64
}

type versioned struct {
	value    []byte
	revision uint64
}

// NewStore returns an empty Store.
func NewStore() *Store { return &Store{values: map[string]versioned{}} }

// Away makes the store fail until back is called, like a server that is down.
func (s *Store) Away() (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.away = false
	}
}

// Get implements snapline.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := s.ready(ctx, key); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		return nil, 0, fmt.Errorf("get %s: %w", key, snapline.ErrNotFound)
	}
	return bytes.Clone(v.value), v.revision, nil
}

// Put implements snapline.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(key, value)
	return nil
}

// Swap implements snapline.Store.
func (s *Store) Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := s.ready(ctx, key); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key].revision != revision { // 0 when there is none
		return 0, fmt.Errorf("write %s over revision %d: %w", key, revision, snapline.ErrConflict)
	}
	return s.write(key, value), nil
}

// Keys implements snapline.Store.
func (s *Store) Keys(ctx context.Context, prefix string) ([]string, error) {
	if err := s.ready(ctx, "k"); err != nil {
		return nil, fmt.Errorf("list keys %s*: %w", prefix, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.values {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Delete implements snapline.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

// write needs the lock. Revisions are never used twice, not even by two keys.
func (s *Store) write(key string, value []byte) uint64 {
	s.revision++
	s.values[key] = versioned{bytes.Clone(value), s.revision}
	return s.revision
}

func (s *Store) ready(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return fmt.Errorf("key %s: %w: the store is away", key, snapline.ErrNoAnswer)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("key %s: %w", key, err)
	}
	return checkDotted("key", key)
}
