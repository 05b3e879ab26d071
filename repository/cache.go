package repository

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/index"
)

// cacheDir is a repository's directory on this machine. Everything in it can
// be lost.
type cacheDir struct {
	path      string
	temporary bool
	lock      *os.File
}

// openCache makes the directory. Whoever is alone in it removes what crashed
// processes left.
func openCache(dir, id string) (_ *cacheDir, err error) {
	c := &cacheDir{path: filepath.Join(dir, id)}
	if dir == "" {
		c.temporary = true
		c.path, err = os.MkdirTemp("", "snapline-cache-")
	} else {
		err = os.MkdirAll(c.path, 0o700)
	}
	if err == nil {
		c.lock, err = os.OpenFile(filepath.Join(c.path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	if err := c.share(); err != nil {
		return nil, fmt.Errorf("cache directory %s: %w", c.path, errors.Join(err, c.close()))
	}
	return c, nil
}

func (c *cacheDir) share() error {
	fd := int(c.lock.Fd())
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		if err := index.Clean(c.path); err != nil {
			return err
		}
		cleanPacks(filepath.Join(c.path, "packs"))
	}
	return unix.Flock(fd, unix.LOCK_SH)
}

func (c *cacheDir) close() error {
	err := c.lock.Close()
	if c.temporary {
		err = errors.Join(err, os.RemoveAll(c.path))
	}
	return err
}
