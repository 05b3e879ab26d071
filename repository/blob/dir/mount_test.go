package dir

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/blob"
)

// inMounts calls f on a thread with a mount namespace of its own, which goes
// with the thread: nothing stays mounted. f must keep to its goroutine and must
// not call t.Fatal.
func inMounts(t *testing.T, f func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts file systems: run it as root (sudo -E make test)")
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: nobody else may get this thread
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	root := t.TempDir()
	inMounts(t, func() error {
		if err := unix.Mount("none", root, "tmpfs", 0, "size=1m"); err != nil {
			return err
		}
		s, err := Open(root)
		if err != nil {
			return err
		}
		if err := s.Create(t.Context(), "p/first", nil); err != nil {
			return err
		}
		before, err := s.Free(t.Context())
		if err != nil || before < 900_000 || before > 1<<20 {
			t.Errorf("Free = %d, %v", before, err)
		}
		data := make([]byte, 4<<20)
		err = s.Put(t.Context(), "p/a", int64(len(data)), bytes.NewReader(data))
		if !errors.Is(err, blob.ErrFull) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "prune") {
			t.Errorf("Put on a full disk: %v", err)
		}
		if err := s.Create(t.Context(), "p/b", data[:2<<20]); !errors.Is(err, blob.ErrFull) {
			t.Errorf("Create on a full disk: %v", err)
		}
		if after, err := s.Free(t.Context()); err != nil || after != before {
			t.Errorf("%d bytes are free after what failed, %d before: %v", after, before, err)
		}
		wantTmp(t, s, 0)
		return nil
	})
}

func TestReadOnly(t *testing.T) {
	root := t.TempDir()
	if err := open(t, root).Create(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	inMounts(t, func() error {
		if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return err
		}
		s, err := Open(root)
		if err != nil {
			return err
		}
		if n, err := s.Size(t.Context(), "a"); n != 1 || err != nil {
			t.Errorf("Size on a read-only file system = %d, %v", n, err)
		}
		for what, err := range map[string]error{
			"Put": s.Put(t.Context(), "b", 0, bytes.NewReader(nil)), "Put in a folder": s.Put(t.Context(), "p/b", 0, bytes.NewReader(nil)),
			"Create": s.Create(t.Context(), "c", nil), "Delete": s.Delete(t.Context(), "a"),
		} {
			if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "mount it for writing") {
				t.Errorf("%s on a read-only file system: %v", what, err)
			}
		}
		return nil
	})
}
