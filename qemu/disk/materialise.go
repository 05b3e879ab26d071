package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/snapline/snapline"
)

// Target is a disk file to be made.
type Target struct {
	Path   string // absolute
	Format string // qcow2, raw
	Size   int64
	// ClusterSize is that of a qcow2 file, a power of two from 512 to 2 MiB. With
	// a backing file it must divide all extents, so it is DiskInfo's. 0: 64 KiB.
	ClusterSize int64
	// Backing is the file below, and its format; empty for none. Only qcow2 can
	// have one.
	Backing, BackingFormat string
	// Replace allows a file at Path: the disk of the instance that was stopped.
	Replace  bool
	UID, GID int
	Mode     fs.FileMode
}

// writer makes a disk out of extents that come in order.
type writer interface {
	write(e snapline.Extent) error
	finish() error
}

// Materialise writes a disk of the extents, as sparse as they are. It appears
// at its path whole and on disk, or, after an error, not at all: then what was
// at the path is untouched. fs.ErrExist when something is there that may not
// be replaced.
func Materialise(ctx context.Context, t Target, extents iter.Seq2[snapline.Extent, error]) error {
	if _, err := os.Lstat(t.Path); err == nil && !t.Replace {
		return fmt.Errorf("make disk %s: %w", t.Path, fs.ErrExist)
	}
	temp, err := t.make(ctx, extents)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := t.publish(temp); err != nil {
		return fmt.Errorf("make disk %s: %w", t.Path, err)
	}
	return nil
}

// tempPath is where a disk is while it is written. One of a restore that died
// is replaced.
func (t Target) tempPath() string {
	dir, name := filepath.Split(t.Path)
	return filepath.Join(dir, "."+name+".snapline-restore")
}

// make writes the disk under a name that nobody looks for. After an error
// nothing is left.
func (t Target) make(ctx context.Context, extents iter.Seq2[snapline.Extent, error]) (temp string, err error) {
	temp = t.tempPath()
	defer func() {
		if err != nil {
			err = fmt.Errorf("make disk %s: %w", t.Path, err)
		}
	}()
	if err := removeIfThere(temp); err != nil {
		return "", err
	}
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	if err := errors.Join(t.write(ctx, f, extents), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	return temp, nil
}

// write makes an empty file the disk, durably.
func (t Target) write(ctx context.Context, f *os.File, extents iter.Seq2[snapline.Extent, error]) error {
	if err := t.fill(ctx, f, extents); err != nil {
		return err
	}
	return errors.Join(f.Chown(t.UID, t.GID), f.Chmod(t.Mode.Perm()), f.Sync())
}

// fill writes the whole file.
func (t Target) fill(ctx context.Context, f *os.File, extents iter.Seq2[snapline.Extent, error]) error {
	w, err := t.writer(f)
	if err != nil {
		return err
	}
	end := int64(0)
	for e, err := range extents {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case e.Offset < end || e.Length < 0 || e.Length > t.Size-e.Offset || e.Data != nil && int64(len(e.Data)) != e.Length:
			return fmt.Errorf("extent at %d of %d bytes is out of place on a disk of %d", e.Offset, e.Length, t.Size)
		}
		end = e.Offset + e.Length
		if err := w.write(e); err != nil {
			return err
		}
	}
	return w.finish()
}

func (t Target) writer(f *os.File) (writer, error) {
	switch {
	case t.Size < 0:
		return nil, fmt.Errorf("size %d", t.Size)
	case t.Format == "raw" && t.Backing != "":
		return nil, errors.New("a raw disk cannot have a backing file")
	case t.Format == "raw":
		return rawWriter{f}, f.Truncate(t.Size)
	case t.Format == "qcow2":
		return newQcow2(f, t)
	}
	return nil, fmt.Errorf("format %q: only qcow2 and raw are known", t.Format)
}

// publish gives the file its name, atomically.
func (t Target) publish(temp string) error {
	if t.Replace {
		if err := os.Rename(temp, t.Path); err != nil {
			return err
		}
	} else if err := os.Link(temp, t.Path); err != nil { // fails when somebody was faster
		return err
	}
	return syncDir(filepath.Dir(t.Path))
}

// rawWriter leaves holes for pages of zeros.
type rawWriter struct{ f *os.File }

func (w rawWriter) write(e snapline.Extent) error {
	data, at := e.Data, e.Offset
	for len(data) > 0 {
		// A run of pages with content, then a run of pages without.
		n := runLength(data, false)
		if n > 0 {
			if _, err := w.f.WriteAt(data[:n], at); err != nil {
				return err
			}
		}
		n += runLength(data[n:], true)
		data, at = data[n:], at+int64(n)
	}
	return nil
}

func (rawWriter) finish() error { return nil }

// runLength is how long b begins with pages that are all zeros, or are not.
func runLength(b []byte, zero bool) int {
	n := 0
	for n < len(b) {
		end := min(n+len(zeroPage), len(b))
		if allZero(b[n:end]) != zero {
			break
		}
		n = end
	}
	return n
}
