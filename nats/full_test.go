package nats_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/nats"
)

// TestDiskFull fills the file system that the state is on: writes fail, what was
// accepted stays, and a server that is started again when there is room goes on.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a file system: run it as root (sudo -E make test)")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	server := start(t, filepath.Join(dir, "nats"))
	c := dial(t, nats.DialOptions{InProcess: server})
	s := openStore(t, c)
	written := 0
	for ; written < 1000; written++ {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := s.Put(ctx, fmt.Sprintf("k%d", written), make([]byte, 100_000))
		cancel()
		if err != nil {
			t.Logf("after %d: %v", written, err)
			break
		}
	}
	if written == 0 || written == 1000 {
		t.Fatalf("%d values were written to 4 MiB", written)
	}
	c.Close()
	server.Shutdown()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	server = start(t, filepath.Join(dir, "nats"))
	s = openStore(t, dial(t, nats.DialOptions{InProcess: server}))
	for i := range written {
		if v, _, err := s.Get(within(t), fmt.Sprintf("k%d", i)); err != nil || len(v) != 100_000 {
			t.Fatalf("value %d of %d: %d bytes, %v", i, written, len(v), err)
		}
	}
	if err := s.Put(within(t), "more", []byte("x")); err != nil {
		t.Error(err)
	}
}
