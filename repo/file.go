package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tmpPrefix begins the names of files that are being written.
const tmpPrefix = ".tmp-"

// createTmp makes a file in dir that nobody else writes.
func createTmp(dir string) (*os.File, error) {
	return os.CreateTemp(dir, tmpPrefix+"*")
}

// discard closes and removes a file that is not wanted any more. There is
// nobody left to tell about an error: the first one is on its way already.
func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// writeTmp writes a small file and makes it durable, still without its name.
func writeTmp(dir string, content []byte) (path string, err error) {
	f, err := createTmp(dir)
	if err != nil {
		return "", err
	}
	if _, err := f.Write(content); err != nil {
		discard(f)
		return "", err
	}
	if err := f.Sync(); err != nil {
		discard(f)
		return "", err
	}
	if err := f.Close(); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// link gives a durable file its name unless somebody has it: fs.ErrExist. NFS
// may say so of our own success when it has repeated the call (link(2), Bugs).
func link(tmp, name string) error {
	err := os.Link(tmp, name)
	switch {
	case errors.Is(err, fs.ErrExist):
		a, errA := os.Lstat(tmp)
		b, errB := os.Lstat(name)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return nil
		}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("its file system has no hard links; use one that has: %w", err)
	}
	return err
}

// syncDir makes what was created, renamed or removed in a directory durable
// (fsync(2): a file's own fsync does not cover its name).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// mkdir makes a directory and its name durable; that it exists is no error, and
// its name may be another's who has not come to fsync yet.
func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
