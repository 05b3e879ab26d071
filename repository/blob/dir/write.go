package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/blob"
)

// Put writes the blob beside its place and renames it there.
func (s *Store) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	if err := errors.Join(ctx.Err(), blob.CheckPut(name, size, r)); err != nil {
		return err
	}
	if err := s.write(ctx, name, size, r, os.Rename); err != nil {
		return s.failed("put", name, err)
	}
	return nil
}

// Create writes the blob beside its place and links it there, which only works
// while the name is free.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	if err := s.write(ctx, name, int64(len(data)), bytes.NewReader(data), link); err != nil {
		return s.failed("create", name, err)
	}
	return nil
}

// write makes a durable file without a name, then a durable name by the given
// call.
func (s *Store) write(ctx context.Context, name string, size int64, r io.Reader, give func(tmp, path string) error) error {
	path := s.path(name)
	if err := s.folder(filepath.Dir(path)); err != nil {
		return err
	}
	tmp, err := s.newTmp()
	if err != nil {
		return err
	}
	defer tmp.discard()
	s.step("tmp made")
	n, err := io.Copy(tmp.file, &cancellable{ctx: ctx, r: r})
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("the source ended after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	s.step("written")
	if err := tmp.file.Sync(); err != nil {
		return err
	}
	s.step("synced")
	if err := give(tmp.path, path); err != nil {
		return err
	}
	s.step("named")
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	s.step("name synced")
	return nil
}

// link is os.Link for a file that only this process names. NFS may say "exists"
// of our own success when it has repeated the call (link(2), BUGS).
func link(tmp, path string) error {
	err := os.Link(tmp, path)
	switch {
	case errors.Is(err, fs.ErrExist):
		a, errA := os.Lstat(tmp)
		b, errB := os.Lstat(path)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return nil
		}
		return fmt.Errorf("%w: %w", blob.ErrExists, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("its file system has no hard links; use one that has (ext4, XFS, Btrfs, ZFS, NFS): %w", err)
	}
	return err
}

// folder makes a folder of blobs with a durable name. Another process may have
// made it and not come to fsync(2) yet, so each process syncs for itself, once.
func (s *Store) folder(path string) error {
	if path == s.root {
		return nil // whoever made it is not us: is it mounted?
	}
	if _, ok := s.durable.Load(path); ok {
		return nil
	}
	parent := filepath.Dir(path)
	if err := s.folder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	s.durable.Store(path, struct{}{})
	return nil
}

// syncDir makes what was named, renamed or removed in a directory durable
// (fsync(2): a file's own fsync does not cover its name).
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// cancellable ends a copy soon after its context. It hides WriterTo, which
// would write a whole buffer in one call.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
