package repo

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// nice returns the calling thread's.
func nice(t *testing.T) int {
	t.Helper()
	p, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	return 20 - p
}

func TestPutYieldsProcessor(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := nice(t)
	during := -1
	r := create(t)
	in := io.MultiReader(bytes.NewReader([]byte("x")), readFunc(func() { during = nice(t) }))
	if _, err := r.Put(t.Context(), id, "n1", in); err != nil {
		t.Fatal(err)
	}
	if during < niceness {
		t.Errorf("niceness %d while compressing, want %d", during, niceness)
	}
	if after := nice(t); after != before {
		t.Errorf("niceness %d afterwards, %d before", after, before)
	}
}

// readFunc is an empty stream that tells when it is read.
type readFunc func()

func (f readFunc) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
