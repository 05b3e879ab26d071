package nats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockName is the lock file's name inside a server's directory.
const lockName = "nats.lock"

// lockDir makes dir, proves that it can be written, and takes the lock that
// JetStream itself does not take. The lock goes with the returned file, and so
// with the process, however it ends (flock(2)).
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("message bus directory %s cannot be made: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("message bus directory %s cannot be written: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("message bus directory %s is in use by another process: stop that one or choose another directory: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock message bus directory %s: %w", dir, err)
	}
	return f, nil
}

// ErrLocked says that another server uses the directory.
var ErrLocked = errors.New("locked")
