package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrBusy says that another process is just bringing the lab up or down.
var ErrBusy = errors.New("another process is bringing this lab up or down")

// lock takes the lab's name for as long as Up or Down works. The kernel lets
// go of it when the process dies, flock(2).
func lock(name string) (unlock func(), err error) {
	if err := os.MkdirAll(DefaultRoot, 0o755); err != nil {
		return nil, fmt.Errorf("lock lab %s: %w", name, err)
	}
	path := filepath.Join(DefaultRoot, name+".lock")
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("lock lab %s: %w", name, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("lab %s: %w", name, ErrBusy)
			}
			return nil, fmt.Errorf("lock lab %s: %w", name, err)
		}
		// Its last holder may have removed the file between open and flock.
		mine, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return func() { os.Remove(path); f.Close() }, nil
		}
		f.Close()
	}
}
