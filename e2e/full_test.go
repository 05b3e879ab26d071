package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// onSmallDisk moves the repository to a file system of its own for the time of
// a test.
func (f *faults) onSmallDisk(t *testing.T, size string) {
	t.Helper()
	f.kill(t, "coordinator")
	if err := unix.Mount("tmpfs", f.repository(), "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if err := f.KillDaemon(ctx, "coordinator"); err != nil {
			t.Error(err)
		}
		// A store that is being given up may hold a file for a moment more.
		if err := unix.Unmount(f.repository(), unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the repository: %v", err)
		}
		if err := f.StartCoordinator(ctx); err != nil {
			t.Error(err)
		}
	})
	at, key := f.Lab.Repository()
	f.mustRun(t, nil, "repo", "init", "--repo", at, "--key-file", key)
	if err := f.StartCoordinator(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.awaitAgents(t)
}

// repositoryTooSmall: what cannot be stored is not begun.
func (f *faults) repositoryTooSmall(t *testing.T) {
	f.onSmallDisk(t, "128m")
	o := f.run(t, "take", string(f.group), "--json")
	o.expect(t, exitRefused)
	problem := o.problem(t)
	t.Log(problem.Error())
	if n := len(problem.Reasons); n != len(f.VMs()) {
		t.Errorf("%d reasons, want one of each member: %v", n, problem.Reasons)
	}
	for _, r := range problem.Reasons {
		if !strings.Contains(r.Text, "repository: ") || !strings.Contains(r.Text, "MiB free") {
			t.Errorf("reason %q says nothing of the repository's space", r.Text)
		}
	}
}

// repositoryFull: somebody else fills the disk while the snapshot is being
// stored.
func (f *faults) repositoryFull(t *testing.T) {
	f.onSmallDisk(t, "400m")
	ballast := filepath.Join(f.repository(), "ballast")
	op := f.strike(t, snapline.Colour, moment{step: "cut"}, func() { fill(t, f.repository(), ballast) })
	problem := f.aborted(t, op, snapline.CodeFailed)
	if !strings.Contains(problem.Error(), "full") {
		t.Errorf("it does not say that the repository is full: %v", problem)
	}
	f.unharmed(t)
	f.forgotten(t, op.Snapshot)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.recovers(t)
}

// fill leaves one MiB of a file system.
func fill(t *testing.T, dir, ballast string) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-1<<20); err != nil {
		t.Fatal(err)
	}
}
