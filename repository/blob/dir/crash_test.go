package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// childDir and childAt make the test binary a process that writes and dies, or
// waits, at the named step.
const (
	childDir  = "SNAPLINE_DIR_TEST_CHILD"
	childAt   = "SNAPLINE_DIR_TEST_AT"
	childWait = "SNAPLINE_DIR_TEST_WAIT"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(childDir); root != "" {
		child(root, os.Getenv(childAt), os.Getenv(childWait) != "")
	}
	goleak.VerifyTestMain(m)
}

// life replaces one blob, creates one and deletes one.
func life(ctx context.Context, s *Store) error {
	const text = "the new blob"
	return errors.Join(
		s.Put(ctx, "p/a", int64(len(text)), strings.NewReader(text)),
		s.Create(ctx, "p/b", []byte(text)),
		s.Delete(ctx, "p/old"))
}

// child lives until the named step. SIGKILL runs no deferred function.
func child(root, at string, wait bool) {
	s, err := Open(root)
	if err == nil {
		seen := 0
		s.step = func(name string) {
			seen++
			if fmt.Sprintf("%d %s", seen, name) != at {
				return
			}
			if wait {
				fmt.Println("there")
				_, _ = io.Copy(io.Discard, os.Stdin)
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
		err = life(context.Background(), s)
	}
	fmt.Fprintln(os.Stderr, "lived to the end:", err)
	os.Exit(1)
}

func spawn(t *testing.T, root, at string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+root, childAt+"="+at)
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func wantTmp(t *testing.T, s *Store, want int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.root, tmpFolder))
	if err != nil || len(entries) != want {
		t.Errorf("%d temporary files, want %d: %v", len(entries), want, err)
	}
}

// steps returns all of life's steps, numbered.
func steps(t *testing.T) []string {
	s := prepared(t)
	var all []string
	s.step = func(name string) { all = append(all, fmt.Sprintf("%d %s", len(all)+1, name)) }
	if err := life(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if len(all) != 11 {
		t.Fatalf("life has the steps %q", all)
	}
	return all
}

func prepared(t *testing.T) *Store {
	s := open(t, t.TempDir())
	for _, name := range []string{"p/a", "p/old"} {
		if err := s.Create(t.Context(), name, []byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestCrash(t *testing.T) {
	for _, at := range steps(t) {
		t.Run(at, func(t *testing.T) {
			s := prepared(t)
			out, err := spawn(t, s.root, at).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child did not die by SIGKILL: %v\n%s", err, out)
			}
			check(t, s, at)
		})
	}
}

// check holds what a crash left: each blob is its old or its new self, and what
// is half written goes by Clean.
func check(t *testing.T, s *Store, at string) {
	names, err := blobtest.Names(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		got, err := blobtest.Read(t.Context(), s, name)
		if err != nil || (string(got) != "before" && string(got) != "the new blob") {
			t.Errorf("after a crash at %s, %s holds %q: %v", at, name, got, err)
		}
	}
	if !slices.Contains(names, "p/a") {
		t.Errorf("a crash at %s lost the blob that was being replaced", at)
	}
	left, err := os.ReadDir(filepath.Join(s.root, tmpFolder))
	if err != nil {
		t.Fatal(err)
	}
	if files, _, err := blob.Clean(t.Context(), blob.Limit(s, 1<<20)); err != nil || files != len(left) {
		t.Errorf("Clean = %d, %v; %d files were left", files, err, len(left))
	}
	wantTmp(t, s, 0)
	if after, err := blobtest.Names(t.Context(), s, ""); err != nil || !slices.Equal(after, names) {
		t.Errorf("Clean changed %q into %q: %v", names, after, err)
	}
}

// TestCleanSparesTheLiving cleans while another process and this one write.
func TestCleanSparesTheLiving(t *testing.T) {
	s := prepared(t)
	cmd := spawn(t, s.root, "1 tmp made", childWait+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := false
	t.Cleanup(func() {
		if !waited {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	if _, err := io.ReadFull(out, make([]byte, len("there\n"))); err != nil {
		t.Fatal(err)
	}
	r := &cleaning{Reader: bytes.NewReader([]byte("mine")), t: t, s: s}
	if err := s.Put(t.Context(), "mine", 4, struct{ io.ReadSeeker }{r}); err != nil {
		t.Fatal(err)
	}
	if !r.done {
		t.Fatal("the source was not read")
	}
	_ = in.Close() // now it dies
	_ = cmd.Wait()
	waited = true
	wantTmp(t, s, 1)
	if files, _, err := s.Clean(t.Context()); files != 1 || err != nil {
		t.Errorf("Clean of a dead process's file = %d, %v", files, err)
	}
	wantTmp(t, s, 0)
}

// cleaning is a source in whose middle Clean runs.
type cleaning struct {
	*bytes.Reader
	t    *testing.T
	s    *Store
	done bool
}

func (c *cleaning) Read(p []byte) (int, error) {
	if !c.done {
		c.done = true
		if files, _, err := c.s.Clean(c.t.Context()); files != 0 || err != nil {
			c.t.Errorf("Clean took %d files of the living: %v", files, err)
		}
		wantTmp(c.t, c.s, 2)
	}
	return c.Reader.Read(p)
}

// TestCleanRace writes and cleans at once, for newTmp's moment between making
// and locking.
func TestCleanRace(t *testing.T) {
	s := open(t, t.TempDir())
	stop, cleaned := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				cleaned <- nil
				return
			default:
				if _, _, err := s.Clean(t.Context()); err != nil {
					cleaned <- err
					return
				}
			}
		}
	}()
	for i := range 200 {
		if err := s.Create(t.Context(), fmt.Sprintf("x/%d", i), []byte("data")); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-cleaned; err != nil {
		t.Error(err)
	}
	wantTmp(t, s, 0)
}
