package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Store is the directory of the journals of one host. Its methods may be called
// from several goroutines, but only one process may use the directory, and for
// one VM only one call at a time.
type Store struct {
	dir string
	// at is called at each named step; for tests, which die there.
	at func(step string)
}

// errPending says that an earlier round has left something to do.
var errPending = errors.New("the disks of an earlier snapshot have not been merged yet")

// Open makes the directory, which must survive a reboot, if it is missing.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("disk journals: %w", err)
	}
	return &Store{dir: dir, at: func(string) {}}, nil
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
