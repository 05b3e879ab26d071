package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/blob"
)

// failed says what was tried, where, and what to do about it.
func (s *Store) failed(verb, name string, err error) error {
	return fmt.Errorf("%s %s: %w", verb, name, explain(s.root, err))
}

// explain names the operator's next step where there is one.
func explain(root string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%s: %w: delete snapshots and prune the repository, or make its file system larger: %w", root, blob.ErrFull, err)
	case errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%s: %w: the disk quota of user %d is used up; delete snapshots and prune the repository, or raise the quota: %w",
			root, blob.ErrFull, os.Geteuid(), err)
	case errors.Is(err, unix.EFBIG):
		return fmt.Errorf("%s: %w: the file would exceed the limit of its file system or of this process (ulimit -f): %w", root, blob.ErrFull, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: its file system is read-only; mount it for writing: %w", root, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: user %d must not do that; run as the directory's owner or change its mode: %w", root, os.Geteuid(), err)
	case errors.Is(err, unix.EIO):
		return fmt.Errorf("%s: the storage reports an error; look at the kernel's log (dmesg) before using it again: %w", root, err)
	case errors.Is(err, unix.ESTALE):
		return fmt.Errorf("%s: the file server has forgotten the directory; mount it again: %w", root, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(root); gone != nil {
			return fmt.Errorf("directory %s is gone; is its file system mounted? %w", root, gone)
		}
	}
	return fmt.Errorf("%s: %w", root, err)
}

// missing turns a file that is not there into a blob that is not there. A part
// of the path that is a file itself (ENOTDIR) means the same.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	return err
}
