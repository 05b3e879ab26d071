package nats_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/nats"
)

// await polls until ok: for what nobody announces.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func TestServerPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	_, err = nats.StartServer(nats.ServerOptions{Listen: l.Addr().String(), Dir: dir})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "choose another address") {
		t.Fatalf("StartServer = %v", err)
	}
	start(t, dir) // the directory was let go of
}

func TestServerBadOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    nats.ServerOptions
		want string
	}{
		"no directory":      {nats.ServerOptions{}, "no directory"},
		"directory is file": {nats.ServerOptions{Dir: file}, "cannot be made"},
		"no port":           {nats.ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1"}, "HOST:PORT"},
		"word for a port":   {nats.ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:nats"}, "must be a number"},
		"large port":        {nats.ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:70000"}, "must be a number"},
		"not our address":   {nats.ServerOptions{Dir: t.TempDir(), Listen: "192.0.2.1:0"}, "no such address"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := nats.StartServer(c.o)
			if err == nil {
				s.Shutdown()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("StartServer = %v, want %q", err, c.want)
			}
		})
	}
}

func TestServerLocksDirectory(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	_, err := nats.StartServer(nats.ServerOptions{Dir: dir})
	if !errors.Is(err, nats.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("StartServer = %v, want ErrLocked", err)
	}
	first.Shutdown()
	first.Shutdown() // twice is fine
	start(t, dir)
}

// TestServerReadOnlyDirectory mounts a read-only file system, which stops root
// too, where only one thread sees it; it goes with that thread.
func TestServerReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a file system: run it as root (sudo -E make test)")
	}
	dir := t.TempDir()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread must not be used again
		if err := mountReadOnly(dir); err != nil {
			t.Errorf("mount: %v", err)
			result <- nil
			return
		}
		_, err := nats.StartServer(nats.ServerOptions{Dir: dir})
		result <- err
	}()
	if err := next(t, result); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("StartServer = %v, want EROFS", err)
	}
}

func mountReadOnly(dir string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("none", dir, "tmpfs", unix.MS_RDONLY, "size=64k")
}
