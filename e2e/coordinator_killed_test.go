package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// coordinatorKilled: the agents end the round by themselves, and the next
// coordinator removes what the round has left in the repository.
func (f *faults) coordinatorKilled(t *testing.T) {
	for _, p := range phases {
		ok := t.Run(p.name, func(t *testing.T) {
			op := f.strike(t, p.cut, p.at, func() { f.kill(t, "coordinator") })
			f.unharmed(t)
			if p.name != "prepare" { // where the gates have no rule, and wait for longer
				took := f.awaitUngated(t, offTapLimit)
				t.Logf("no gate anywhere %v later", took.Round(time.Millisecond))
			}
			if err := f.StartCoordinator(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.awaitAgents(t)
			f.forgotten(t, op.Snapshot)
			f.recovers(t)
			f.forgotten(t, op.Snapshot) // also by those that went on storing
			f.tidy(t)
		})
		if !ok {
			t.FailNow()
		}
	}
}

// forgotten waits until the repository has neither record nor roots of a
// snapshot that was never committed: pages that nothing refers to are prune's.
func (f *faults) forgotten(t *testing.T, id snapline.SnapshotID) {
	t.Helper()
	await(t, 5*time.Second, "nothing is left of "+string(id), func(context.Context) error {
		left, err := os.ReadDir(f.rootsDir(id)) // the folder itself is nothing
		if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
			return fmt.Errorf("roots of %s: %v, %v", id, left, err)
		}
		record, err := os.ReadFile(f.recordFile(id)) // a line says so where another coordinator has decided it
		if !errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(string(record), "given up ") {
			return fmt.Errorf("record of %s: %d bytes, %v", id, len(record), err)
		}
		return nil
	})
}

// Where the repository keeps things, docs/FORMAT.md.
func (s *site) repository() string { return filepath.Join(s.Dir, "repo") }
func (s *site) rootsDir(id snapline.SnapshotID) string {
	return filepath.Join(s.repository(), "roots", string(id))
}
func (s *site) rootFile(id snapline.SnapshotID, object string) string {
	return filepath.Join(s.rootsDir(id), object)
}
func (s *site) recordFile(id snapline.SnapshotID) string {
	return filepath.Join(s.repository(), "snapshots", string(id))
}

// packFile is the largest of the packs that the first snapshot has made.
func (f *faults) packFile(t *testing.T) string {
	t.Helper()
	largest, size := "", int64(0)
	for _, path := range f.packs {
		if st, err := os.Stat(path); err == nil && st.Size() > size {
			largest, size = path, st.Size()
		}
	}
	if largest == "" {
		t.Fatalf("there is none of the packs %v", f.packs)
	}
	return largest
}

// listPacks lists the repository's packs.
func (s *site) listPacks(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(s.repository(), "packs", "*", "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("packs: %v, %v", all, err)
	}
	return all
}
