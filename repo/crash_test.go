package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/snapline/snapline"
)

// crashAt and crashDir make the test binary a process that takes and deletes a
// snapshot and kills itself on the way.
const (
	crashAt  = "SNAPLINE_REPO_TEST_CRASH_AT"
	crashDir = "SNAPLINE_REPO_TEST_CRASH_DIR"
)

// steps are all places where a process can die, in order, and whether the
// snapshot exists then.
var steps = []struct {
	name   string
	exists bool
}{
	{"put: directory made", false},
	{"put: created", false},
	{"put: written", false},
	{"put: synced", false},
	{"put: renamed", false},
	{"put: named", false},
	{"commit: written", false},
	{"commit: linked", true},
	{"commit: named", true},
	{"delete: record unlinked", false},
	{"delete: record gone", false},
	{"delete: set aside", false},
	{"delete: removed", false},
}

// life stores, commits and deletes one snapshot.
func life(ctx context.Context, r *Repository) error {
	o, err := r.Put(ctx, id, "n1", bytes.NewReader(ram(1<<20)))
	if err != nil {
		return err
	}
	if err := r.Commit(ctx, record(id, o)); err != nil {
		return err
	}
	return r.Delete(ctx, id)
}

// crash lives until the named step. SIGKILL runs no deferred function.
func crash(dir, at string) {
	r, err := Open(dir, Options{})
	if err == nil {
		r.step = func(name string) {
			if name == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until it arrives
			}
		}
		err = life(context.Background(), r)
	}
	fmt.Fprintln(os.Stderr, "lived to the end:", err)
	os.Exit(1)
}

func TestStepsAreComplete(t *testing.T) {
	r := create(t)
	var seen []string
	r.step = func(name string) { seen = append(seen, name) }
	if err := life(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range steps {
		want = append(want, s.name)
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("steps taken:\n%s\nsteps that TestCrash crashes at:\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}

func TestCrash(t *testing.T) {
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			r := create(t)
			kill(t, r.dir, s.name)
			after := open(t, r.dir, Options{})
			if s.exists {
				whole(t, after)
			} else {
				none(t, after)
			}
			cleanable(t, after)
		})
	}
}

// TestCrashThenRetry goes on with the same snapshot where a process died.
func TestCrashThenRetry(t *testing.T) {
	for _, s := range steps {
		if !strings.HasPrefix(s.name, "put") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			r := create(t)
			kill(t, r.dir, s.name)
			o, err := r.Put(t.Context(), id, "n1", bytes.NewReader(ram(1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Commit(t.Context(), record(id, o)); err != nil {
				t.Fatal(err)
			}
			whole(t, r)
			cleanable(t, r)
		})
	}
}

// kill runs a process in dir that dies at that step.
func kill(t *testing.T, dir, at string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashAt+"="+at, crashDir+"="+dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process did not die of SIGKILL: %v\n%s", err, out)
	}
}

// whole checks that the snapshot exists, and all of it.
func whole(t *testing.T, r *Repository) {
	t.Helper()
	list, err := r.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("List = %d snapshots, %v; want one", len(list), err)
	}
	got, err := readAll(t.Context(), r, list[0].Members[0].Object)
	if err != nil || !bytes.Equal(got, ram(1<<20)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// none checks that nobody sees a snapshot.
func none(t *testing.T, r *Repository) {
	t.Helper()
	if list, err := r.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List = %d snapshots, %v; want none", len(list), err)
	}
	if _, err := r.Snapshot(t.Context(), id); !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("Snapshot = %v, want ErrNotFound", err)
	}
}

// cleanable checks that Delete removes all traces, and that the next round works.
func cleanable(t *testing.T, r *Repository) {
	t.Helper()
	if err := r.Delete(t.Context(), id); err != nil && !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("Delete = %v", err)
	}
	wantTree(t, r.dir, "config.json", "data", "snapshots")
	if err := life(t.Context(), r); err != nil {
		t.Errorf("the next round: %v", err)
	}
}
