package gentle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/gentle"
	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/blob/dir"
	"github.com/snapline/snapline/repotest"
)

// TestMain makes the test's own program the worker.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "low":
		if err := gentle.Lower(); err != nil {
			panic(err)
		}
		if err := os.WriteFile(os.Args[2], nil, 0o600); err != nil {
			panic(err)
		}
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case len(os.Args) == 3 && os.Args[1] == "worker":
		err := gentle.Work(context.Background(), os.Stdin, os.Stdout, func(ctx context.Context) (snapline.Repository, error) { return open(ctx, os.Args[2]) })
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) == 2 && os.Args[1] == "dead":
		os.Stderr.WriteString("no worker today")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func secret() repository.Secret {
	s, err := repository.KeyFile(bytes.Repeat([]byte("gentle"), 10))
	if err != nil {
		panic(err)
	}
	return s
}

func open(ctx context.Context, folder string) (*repository.Repository, error) {
	s, err := dir.Open(folder)
	if err != nil {
		return nil, err
	}
	return repository.Open(ctx, s, secret(), repository.Options{CacheDir: folder + ".cache"})
}

// newRepository makes one whose workers store everything.
func newRepository(t *testing.T, o gentle.Options) *gentle.Repository {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "repo")
	s, err := dir.Create(folder)
	if err == nil {
		err = repository.Init(t.Context(), s, secret())
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if o.Command == nil {
		o.Command = []string{"/proc/self/exe", "worker", folder}
	}
	g := gentle.New(r, o)
	g.AlwaysWork()
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// TestConformance: whoever uses it notices nothing of the workers.
func TestConformance(t *testing.T) {
	repotest.Run(t, func(t *testing.T) snapline.Repository { return newRepository(t, gentle.Options{}) })
}

// children are the processes that this one has started.
func children(t *testing.T) []int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, task := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// TestPriority: every thread of a worker is the last in line, and a worker does
// not outlive the end of the Put's context, stopped or not.
func TestPriority(t *testing.T) {
	lowered := filepath.Join(t.TempDir(), "lowered")
	r := newRepository(t, gentle.Options{Command: []string{"/proc/self/exe", "low", lowered}})
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := r.Put(ctx, "etcd-1", "n1", in)
		done <- err
	}()
	late := time.After(2 * time.Minute) // it comes last on a machine that may be busy
	for _, err := os.Stat(lowered); err != nil; _, err = os.Stat(lowered) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatal("the worker has not lowered itself")
		}
	}
	workers := children(t)
	if len(workers) != 1 {
		t.Fatalf("workers: %v", workers)
	}
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(workers[0]) + "/task/*")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(filepath.Base(task))
		a, err := unix.SchedGetAttr(tid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		io, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(tid), 0)
		if err != nil || a.Policy != unix.SCHED_IDLE || io>>13 != 3 {
			t.Errorf("thread %d: policy %v, I/O class %d, %v", tid, a, io>>13, err)
		}
	}
	if err := unix.Kill(workers[0], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cancel()
	out.Close()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the Put ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a stopped worker keeps the Put from ending")
	}
	if left := children(t); len(left) != 0 {
		t.Errorf("workers left: %v", left)
	}
}

// TestWorkerFails: what a worker says before it dies is told.
func TestWorkerFails(t *testing.T) {
	for name, c := range map[string]struct {
		command []string
		want    string
	}{
		"none":          {[]string{"/no/such/program"}, "no such file"},
		"dead":          {[]string{"/proc/self/exe", "dead"}, "no worker today"},
		"no repository": {[]string{"/proc/self/exe", "worker", "/no/such/folder"}, "/no/such/folder"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t, gentle.Options{Command: c.command})
			_, err := r.Put(t.Context(), "etcd-1", "n1", io.LimitReader(rand.NewChaCha8([32]byte{}), 8<<20))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestSmall: nobody starts a process for a few bytes.
func TestSmall(t *testing.T) {
	r := newRepository(t, gentle.Options{Command: []string{"/no/such/program"}})
	g := gentle.New(r.Repository, gentle.Options{Command: []string{"/no/such/program"}})
	if _, err := g.Put(t.Context(), "etcd-1", "n1", strings.NewReader("few")); err != nil {
		t.Error(err)
	}
	if _, err := g.PutDisk(t.Context(), "etcd-1", "n1", "trace", snapline.DiskContent{Size: 100}); err != nil {
		t.Error(err)
	}
}

// FuzzWork gives a worker whatever comes: it answers or fails, and takes no
// more memory than a frame may.
func FuzzWork(f *testing.F) {
	f.Add([]byte("{\"repository\":\"x\"}\nd\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00abce\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("{\"disk\":\"d\",\"size\":4096}\nz\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, in []byte) {
		gentle.Receive(bytes.NewReader(in))
	})
}
