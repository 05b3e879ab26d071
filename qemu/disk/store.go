package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Store is the directory of what one host must remember of its VMs' disks:
// journals of captures, records of restores, digests of files. Its methods may be called
// from several goroutines, but only one process may use the directory, and for
// one VM only one call at a time.
type Store struct {
	dir string
	// at is called at each named step; for tests, which die there.
	at func(step string)
	// speed limits live merges, in bytes per second; for tests.
	speed   int64
	digests digestCache

	mu      sync.Mutex
	claimed map[string]bool      // files that are being written
	last    map[string]*Exchange // by QMP socket: what may still be undone or done
}

// errPending says that an earlier round has left something to do.
var errPending = errors.New("the disks of an earlier snapshot have not been merged yet")

// Open makes the directory, which must survive a reboot, if it is missing. Its
// path is absolute.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("disk journals: %w", err)
	}
	s := &Store{dir: dir, at: func(string) {}, claimed: map[string]bool{}, last: map[string]*Exchange{}}
	s.digests = digestCache{filepath.Join(dir, "digests")}
	s.digests.forget()
	return s, nil
}

// Dir is the absolute path of the store's directory.
func (s *Store) Dir() string { return s.dir }

// claim reserves a path for one writer of this process.
func (s *Store) claim(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed[path] {
		return false
	}
	s.claimed[path] = true
	return true
}

func (s *Store) unclaim(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claimed, path)
}

// Pending lists the QMP sockets of the VMs that have a journal: those that
// Recover has something to do for. Journals that cannot be read come joined in
// the error.
func (s *Store) Pending() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*.journal"))
	if err != nil {
		return nil, err
	}
	var sockets []string
	var bad []error
	for _, path := range paths {
		j, err := open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // done meanwhile
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		j.close()
		sockets = append(sockets, j.plan.QMP)
	}
	return sockets, errors.Join(bad...)
}
