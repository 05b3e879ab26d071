package repo

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// mounter mounts file systems that only its own thread sees.
type mounter struct{}

// mount calls f on a thread with a private mount namespace, which goes with the
// thread: nothing is left mounted, however the test ends. f must stay on its
// goroutine, and must not call t.Fatal.
func mount(t *testing.T, f func(m mounter) error) {
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
			return f(mounter{})
		}()
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// readOnly makes what is at dir read-only.
func (mounter) readOnly(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// small puts an empty file system of that size ("1m") at dir.
func (mounter) small(dir, size string) error {
	return unix.Mount("none", dir, "tmpfs", 0, "size="+size)
}
