package disk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
	"golang.org/x/sys/unix"
)

// PlaceBacking returns a file with a digest that a disk can stand on. It takes
// the one at t.Path if its content is that, or makes it there if nothing is
// there yet; where something else is, a file beside it with the first digits
// of the digest in its name takes its place. The file is read-only and is never
// removed: others may come to stand on it. Several calls, also of several
// processes, may want the same file at once; one of them makes it.
func (s *Store) PlaceBacking(ctx context.Context, t Target, digest string, extents iter.Seq2[snapline.Extent, error]) (string, error) {
	found, err := s.FindBacking(ctx, t.Path, t.Format, digest)
	if err != nil {
		return "", err
	}
	t.Path = found.Path
	if found.Exists {
		if temp := t.tempPath(); sameFile(temp, t.Path) { // its maker died just before the end
			err = removeIfThere(temp)
		}
		return t.Path, err
	}
	return t.Path, s.makeBacking(ctx, t, digest, extents)
}

// Backing is where a backing file is, or is to be made.
type Backing struct {
	Path   string
	Exists bool
}

// FindBacking finds out which path PlaceBacking would return, and whether the
// file is there already.
func (s *Store) FindBacking(ctx context.Context, path, format, digest string) (Backing, error) {
	if len(digest) < digestDigits {
		return Backing{}, fmt.Errorf("backing file %s: digest %q is too short", path, digest)
	}
	var last string
	for _, last = range backingPaths(path, digest) {
		switch found, err := s.matches(ctx, last, format, digest); {
		case err != nil:
			return Backing{}, fmt.Errorf("backing file: %w", err)
		case found != other:
			return Backing{last, found == matching}, nil
		}
	}
	return Backing{}, fmt.Errorf("backing file: %s is not what its name says (another content than %s): remove it", last, digest)
}

// digestDigits is how many digits of a digest tell files apart.
const digestDigits = 12

// backingPaths are the places for a backing file, in this order.
func backingPaths(path, digest string) []string {
	ext := filepath.Ext(path)
	beside := path[:len(path)-len(ext)] + ".snapline-" + digest[:digestDigits] + ext
	return []string{path, beside}
}

type match int

const (
	absent match = iota
	matching
	other
)

// matches looks for a file with that content.
func (s *Store) matches(ctx context.Context, path, format, digest string) (match, error) {
	if _, err := os.Stat(path); err != nil {
		return absent, nonexistent(err)
	}
	files, err := chain(ctx, path, format)
	if err != nil || len(files) != 1 {
		return other, contextError(ctx) // not of that format, or not alone
	}
	sum, err := s.digests.digest(ctx, backing{files[0]})
	switch {
	case err != nil:
		return other, err
	case sum != digest:
		return other, nil
	}
	return matching, nil
}

// contextError is why the context has ended; nil while it has not.
func contextError(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// makeBacking writes the file, or waits for who else does.
func (s *Store) makeBacking(ctx context.Context, t Target, digest string, extents iter.Seq2[snapline.Extent, error]) error {
	f, err := lockTemp(ctx, t.tempPath())
	if err != nil {
		return fmt.Errorf("backing file %s: %w", t.Path, err)
	}
	defer f.Close()
	// Whoever had the lock may have done it.
	switch found, err := s.matches(ctx, t.Path, t.Format, digest); {
	case err != nil, found == matching:
		return errors.Join(err, os.Remove(f.Name()))
	case found == other:
		return errors.Join(fmt.Errorf("backing file %s: something else was put there meanwhile", t.Path), os.Remove(f.Name()))
	}
	s.at("backing-locked")
	if err := s.fillBacking(ctx, t, f, digest, extents); err != nil {
		return errors.Join(fmt.Errorf("backing file %s: %w", t.Path, err), os.Remove(f.Name()))
	}
	s.digests.remember(t.Path, t.Format, digest)
	return nil
}

func (s *Store) fillBacking(ctx context.Context, t Target, f *os.File, digest string, extents iter.Seq2[snapline.Extent, error]) error {
	if err := f.Truncate(0); err != nil { // what a restore that died has left
		return err
	}
	sum := newDigester(t.Size)
	if err := t.write(ctx, f, sum.tee(extents)); err != nil {
		return err
	}
	if got := sum.sum(); got != digest {
		return fmt.Errorf("its content has digest %s, not %s: %w", got, digest, snapline.ErrDamaged)
	}
	s.at("backing-written")
	if err := os.Link(f.Name(), t.Path); err != nil {
		return err
	}
	s.at("backing-linked")
	// Who has found the file already may have removed this name.
	return errors.Join(removeIfThere(f.Name()), syncDir(filepath.Dir(t.Path)))
}

// lockTick is how often a lock is tried.
const lockTick = 20 * time.Millisecond

// lockTemp opens the file that a backing file is made in, alone: its lock goes
// with its maker, also one that dies.
func lockTemp(ctx context.Context, path string) (*os.File, error) {
	tick := time.NewTicker(lockTick)
	defer tick.Stop()
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameAs(f, path) {
			alone, statErr := onlyName(f)
			if alone {
				return f, nil
			}
			// Its maker died just before the end: it is in use under its name.
			err = errors.Join(statErr, os.Remove(path))
		}
		f.Close() // locked, or removed by its maker meanwhile
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// onlyName reports whether a file has no other name.
func onlyName(f *os.File) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return err == nil && st.Nlink == 1, err
}

// sameAs reports whether the path still leads to the open file.
func sameAs(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(open, named)
}
