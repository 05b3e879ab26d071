package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tmpFolder holds what is being written. No blob's name can have a '~'.
const tmpFolder = "~tmp"

// tmpFile is being written by this process, which holds an flock(2) on it as
// long as it lives: that, and no clock, tells it from a dead writer's.
type tmpFile struct {
	file *os.File
	path string
}

// newTmp makes and locks a file. Clean may come between the two and remove it;
// then another one is made.
func (s *Store) newTmp() (*tmpFile, error) {
	folder := filepath.Join(s.root, tmpFolder)
	for {
		path := filepath.Join(folder, rand.Text())
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		t := &tmpFile{file: f, path: path}
		kept, err := t.lock()
		if err != nil {
			t.discard()
			return nil, err
		}
		if kept {
			return t, nil
		}
		_ = f.Close()
	}
}

// lock waits out a Clean that looks at the file, and reports whether the file
// is still there.
func (t *tmpFile) lock() (bool, error) {
	if err := flock(t.file, unix.LOCK_EX); err != nil {
		return false, err
	}
	mine, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, named), err
}

// discard closes the file and removes its temporary name, if it still has it.
// There is nobody to tell about an error: the blob has its own name already, or
// a worse error is on its way. Clean gets what stays.
func (t *tmpFile) discard() {
	_ = unix.Unlink(t.path)
	_ = t.file.Close()
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
			}
			return nil
		}
	}
}

// Clean removes what writers left that died while writing, and returns how many
// files and bytes. Who lives is told by flock(2), so the answer is exact, at
// whatever age, also across hosts if their NFS shares locks (it does unless
// mounted with nolock or local_lock). Should a lock be lost all the same, the
// living writer's Put fails; nothing that was written is touched.
func (s *Store) Clean(ctx context.Context) (files int, bytes int64, err error) {
	folder := filepath.Join(s.root, tmpFolder)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, explain(s.root, err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return files, bytes, err
		}
		n, removed, err := cleanOne(filepath.Join(folder, e.Name()))
		if err != nil {
			return files, bytes, explain(s.root, err)
		}
		if removed {
			files++
			bytes += n
		}
	}
	return files, bytes, nil
}

// cleanOne removes a file whose lock nobody holds. It holds the lock until the
// file is gone, so that no writer starts to believe in it.
func cleanOne(path string) (size int64, removed bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil // its writer has finished
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	switch err := flock(f, unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return 0, false, nil // its writer lives
	case err != nil:
		return 0, false, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, false, nil
		}
		return 0, false, err
	}
	return info.Size(), true, nil
}
