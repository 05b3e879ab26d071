package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// Set is a repository's whole index on this machine. It may be used from
// several goroutines; several processes may share its directory.
type Set struct {
	dir string
	key []byte

	sync   sync.Mutex // one change at a time
	mu     sync.RWMutex
	tables []*Table // replaced, never changed in place
}

// maxTables is how many tables a lookup goes through at the most.
const maxTables = 8

// Open reads the tables in a directory, which must exist. key authenticates
// them.
func Open(dir string, key []byte) (*Set, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+tableSuffix))
	if err != nil {
		return nil, err
	}
	s := &Set{dir: dir, key: key}
	seen := map[Source]bool{}
	for _, n := range names {
		t, err := openTable(n, key)
		if err != nil {
			_ = os.Remove(n) // it will be made anew
			continue
		}
		if slices.ContainsFunc(t.Sources(), func(s Source) bool { return seen[s] }) {
			// A merge was cut off between its last two steps.
			_ = os.Remove(n)
			_ = t.Close()
			continue
		}
		for _, src := range t.Sources() {
			seen[src] = true
		}
		s.tables = append(s.tables, t)
	}
	return s, nil
}

// Close unmaps the tables. Nobody may use the set any more.
func (s *Set) Close() error {
	s.sync.Lock()
	defer s.sync.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, t := range s.tables {
		errs = append(errs, t.Close())
	}
	s.tables = nil
	return errors.Join(errs...)
}

// Lookup returns where an object is.
func (s *Set) Lookup(id page.ID) (Loc, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.tables {
		if i, ok := t.Find(id); ok {
			_, l := t.At(i)
			return l, true
		}
	}
	return Loc{}, false
}

// Has sets found[i] when ids[i] is stored.
func (s *Set) Has(ids []page.ID, found []bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, id := range ids {
		found[i] = false
		for _, t := range s.tables {
			if _, found[i] = t.Find(id); found[i] {
				break
			}
		}
	}
}

// Fetch reads the index blob of that name.
type Fetch func(ctx context.Context, s Source) ([]pack.Contents, error)

// Sync makes the set know exactly the index blobs of the list.
func (s *Set) Sync(ctx context.Context, list []Source, fetch Fetch) error {
	s.sync.Lock()
	defer s.sync.Unlock()
	missing := map[Source]bool{}
	for _, src := range list {
		missing[src] = true
	}
	var keep, drop []*Table
	for _, t := range s.snapshot() {
		if t.covers(missing) {
			keep = append(keep, t)
			for _, src := range t.Sources() {
				delete(missing, src)
			}
		} else {
			drop = append(drop, t)
		}
	}
	s.replace(keep, drop)
	for _, src := range list {
		if !missing[src] {
			continue
		}
		packs, err := fetch(ctx, src)
		if err != nil {
			return err
		}
		if err := s.add(src, packs); err != nil {
			return err
		}
	}
	return nil
}

// Add makes the set know one more index blob.
func (s *Set) Add(src Source, packs []pack.Contents) error {
	s.sync.Lock()
	defer s.sync.Unlock()
	for _, t := range s.snapshot() {
		if slices.Contains(t.Sources(), src) {
			return nil
		}
	}
	return s.add(src, packs)
}

// add needs the sync lock.
func (s *Set) add(src Source, packs []pack.Contents) error {
	t, err := build(s.dir, s.key, src, packs)
	if err != nil {
		return fmt.Errorf("local index in %s: %w", s.dir, err)
	}
	s.replace(append(s.snapshot(), t), nil)
	for len(s.snapshot()) > maxTables {
		if err := s.compact(false); err != nil {
			return fmt.Errorf("local index in %s: %w", s.dir, err)
		}
	}
	return nil
}

// Single merges everything and returns the one table, as it is now; the caller
// closes it.
func (s *Set) Single() (*Table, error) {
	s.sync.Lock()
	defer s.sync.Unlock()
	if len(s.snapshot()) != 1 {
		if err := s.compact(true); err != nil {
			return nil, fmt.Errorf("local index in %s: %w", s.dir, err)
		}
	}
	t := s.snapshot()[0]
	t.users.Add(1)
	return t, nil
}

// compact merges all tables, or the smallest ones: as many as are not much
// larger than those before them together, so that an entry is copied a
// logarithmic number of times.
func (s *Set) compact(all bool) error {
	tables := s.snapshot()
	slices.SortStableFunc(tables, func(a, b *Table) int { return a.Len() - b.Len() })
	n, sum := 0, 0
	for ; n < len(tables) && (all || n < 2 || tables[n].Len() <= 2*sum); n++ {
		sum += tables[n].Len()
	}
	t, err := merge(s.dir, s.key, tables[:n])
	if err != nil {
		return err
	}
	s.replace(append(slices.Clone(tables[n:]), t), tables[:n])
	return nil
}

func (s *Set) snapshot() []*Table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.tables)
}

// replace puts other tables in place and removes the files of those dropped.
func (s *Set) replace(tables, drop []*Table) {
	s.mu.Lock()
	s.tables = tables
	s.mu.Unlock()
	for _, t := range drop { // no reader holds the lock any more that saw them
		if !slices.ContainsFunc(tables, func(k *Table) bool { return k.path == t.path }) {
			_ = os.Remove(t.path)
		}
		_ = t.Close()
	}
}

// Packs lists the packs that the set knows, some perhaps twice.
func (s *Set) Packs() (list []pack.ID) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.tables {
		for i := range t.Packs() {
			id, _ := t.pack(i)
			list = append(list, id)
		}
	}
	return list
}

// Forget drops the tables that know one of those packs, so that Sync learns
// their index blobs anew.
func (s *Set) Forget(gone map[pack.ID]bool) {
	if len(gone) == 0 {
		return
	}
	s.sync.Lock()
	defer s.sync.Unlock()
	var keep, drop []*Table
	for _, t := range s.snapshot() {
		if t.knows(gone) {
			drop = append(drop, t)
		} else {
			keep = append(keep, t)
		}
	}
	s.replace(keep, drop)
}

// Size is what the tables take on disk, in bytes.
func (s *Set) Size() int64 {
	var n int64
	for _, t := range s.snapshot() {
		n += int64(len(t.data))
	}
	return n
}

// Clean removes what crashed processes left unfinished. Call it only while no
// other process uses the directory.
func Clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tmpSuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
