// Package dir keeps blobs in a directory, so that a repository needs nothing
// but a file system: a local disk, or NFS that several hosts mount.
//
// A blob is written into the folder "~tmp", made durable, and only then gets
// its name: by rename(2), which replaces, or by link(2), which does not. No name
// of a blob has a '~', so what is half written is never seen. Folders that have
// become empty stay. A blob "a" and a blob "a/b" cannot both be.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/blob"
)

var (
	_ blob.Store   = (*Store)(nil)
	_ blob.Cleaner = (*Store)(nil)
)

// Store is a directory of blobs. It holds nothing open. Safe for use from
// several goroutines, processes and hosts.
type Store struct {
	root    string
	durable sync.Map          // folders whose own names are on disk: path to struct{}
	step    func(name string) // tests die here
}

// Open uses an existing directory. It writes nothing: a directory that turns
// out to be read-only can still be read.
func Open(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", path, err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("directory %s does not exist; is its file system mounted? %w", path, err)
	case err != nil:
		return nil, explain(path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory: %w", path, syscall.ENOTDIR)
	}
	return &Store{root: path, step: func(string) {}}, nil
}

// Create makes the directory, and those above it, unless it is there; its name
// is durable then.
func Create(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", path, err)
	}
	if err := makeAll(path); err != nil {
		return nil, explain(path, err)
	}
	return Open(path)
}

// makeAll is os.MkdirAll that makes the names durable.
func makeAll(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func (s *Store) String() string { return s.root }

// path is where a blob of a valid name is.
func (s *Store) path(name string) string {
	return filepath.Join(s.root, filepath.FromSlash(name))
}

// Size returns the file's length.
func (s *Store) Size(ctx context.Context, name string) (int64, error) {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return 0, err
	}
	info, err := os.Stat(s.path(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return 0, s.failed("size", name, missing(err))
	}
	return info.Size(), nil
}

// Get opens the file. What is read is the blob as it was then, whatever is put
// under the name later.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := errors.Join(ctx.Err(), blob.CheckRange(name, off)); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, s.failed("get", name, missing(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err == nil {
		n, err = within(info.Size(), off, n)
	}
	if err != nil {
		_ = f.Close()
		return nil, s.failed("get", name, missing(err))
	}
	return &section{SectionReader: io.NewSectionReader(f, off, n), ctx: ctx, file: f}, nil
}

// within is how many bytes a range has in a file of that size.
func within(size, off, n int64) (int64, error) {
	if off > size || n > size-off {
		return 0, fmt.Errorf("bytes from %d, %d of them, of %d: %w", off, n, size, blob.ErrShort)
	}
	if n < 0 {
		return size - off, nil
	}
	return n, nil
}

// section reads a part of a file until its context ends.
type section struct {
	*io.SectionReader
	ctx  context.Context
	file *os.File
}

func (r *section) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.SectionReader.Read(p)
}

func (r *section) Close() error { return r.file.Close() }

// Delete unlinks the file. Its folder stays: to remove it would race with
// somebody who writes there.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	path := s.path(name)
	// unlink(2), not os.Remove: a folder of that name is no blob.
	switch err := unix.Unlink(path); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR):
		return nil
	case err != nil:
		return s.failed("delete", name, &fs.PathError{Op: "unlink", Path: path, Err: err})
	}
	s.step("delete: unlinked")
	if err := syncDir(filepath.Dir(path)); err != nil {
		return s.failed("delete", name, err)
	}
	return nil
}

// Free is what the file system grants this user (statfs(2), f_bavail). A quota
// may be lower.
func (s *Store) Free(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.root, &st); err != nil {
		return 0, explain(s.root, &fs.PathError{Op: "statfs", Path: s.root, Err: err})
	}
	return int64(st.Bavail) * st.Bsize, nil
}
