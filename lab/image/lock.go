package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lock waits until no other builder works in the cache. Two would do the same
// work twice, and apt-get refuses to run beside itself. The kernel lets go of
// the lock when its holder dies, flock(2).
func lock(ctx context.Context, cache string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK {
			f.Close()
			return nil, fmt.Errorf("lock the image cache: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another builder of the image: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// sweep removes what builders that were killed have left unfinished. Callers
// hold the lock.
func sweep(cache string) error {
	for _, pattern := range []string{".new-*", "debs/.new-*"} {
		left, err := filepath.Glob(filepath.Join(cache, pattern))
		if err != nil {
			return err
		}
		for _, dir := range left {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
