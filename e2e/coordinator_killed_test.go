package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
				took := f.awaitUngated(t, gateLimit)
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

// forgotten waits until nothing of a snapshot that was never committed is in
// the repository's directory.
func (f *faults) forgotten(t *testing.T, id snapline.SnapshotID) {
	t.Helper()
	await(t, 5*time.Second, "nothing is left of "+string(id), func(context.Context) error {
		for _, path := range []string{f.dataDir(id), f.recordFile(id)} {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is there (%v)", path, err)
			}
		}
		return nil
	})
}

// Where the repository keeps things, docs of package repo.
func (s *site) repository() string { return filepath.Join(s.Dir, "repo") }
func (s *site) dataDir(id snapline.SnapshotID) string {
	return filepath.Join(s.repository(), "data", string(id))
}
func (s *site) dataFile(id snapline.SnapshotID, member string) string {
	return filepath.Join(s.dataDir(id), member+".zst")
}
func (s *site) recordFile(id snapline.SnapshotID) string {
	return filepath.Join(s.repository(), "snapshots", string(id)+".json")
}
