package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/snapline/snapline"
	"golang.org/x/sys/unix"
)

// blockSize is the most of a disk that is in memory at a time.
const blockSize = 1 << 20

// layer is the files of a disk that are read, from the top down; the last of
// several is the backing file, which does not count.
type layer struct {
	files []image
	size  int64
}

func newLayer(d Disk) layer { return layer{d.files, d.Size} }

// unit is the least of the files above the lowest; a raw file has none.
func (l layer) unit() int64 {
	var least int64
	for i, f := range l.files {
		if i > 0 && i == len(l.files)-1 {
			break // the backing file's own does not show above it
		}
		if u := f.unit(); u > 0 && (least == 0 || u < least) {
			least = u
		}
	}
	return least
}

// extents yields what the files hold above the backing file.
func (l layer) extents(ctx context.Context) iter.Seq2[snapline.Extent, error] {
	if len(l.files) == 1 && l.files[0].Format == "raw" {
		return rawExtents(ctx, l.files[0].Filename, l.size)
	}
	return l.mapped(ctx)
}

// yieldFunc takes an extent; false: no more is wanted.
type yieldFunc = func(snapline.Extent, error) bool

// errEnough says that the consumer wants no more.
var errEnough = errors.New("enough")

// rawExtents reads what a sparse file holds (lseek(2), SEEK_DATA).
func rawExtents(ctx context.Context, path string, size int64) iter.Seq2[snapline.Extent, error] {
	return func(yield yieldFunc) {
		f, err := os.Open(path)
		if err != nil {
			yield(snapline.Extent{}, err)
			return
		}
		defer f.Close()
		c := copier{ctx: ctx, yield: yield, block: make([]byte, blockSize)}
		for at := int64(0); at < size; {
			start, end, err := nextData(f, at)
			if err == nil && start < size {
				// A hole may begin within a page; what it has of one reads as zeros.
				start, end = start-start%snapline.PageSize, roundUp(end, snapline.PageSize, size)
				err = c.copy(f, start, start, end-start)
			}
			if err != nil {
				if !errors.Is(err, errEnough) && !errors.Is(err, io.EOF) {
					yield(snapline.Extent{}, fmt.Errorf("read %s: %w", path, err))
				}
				return
			}
			at = end
		}
	}
}

// roundUp returns the next multiple of a power of two, or the disk's end.
func roundUp(at, unit, size int64) int64 { return min(at+(-at&(unit-1)), size) }

// nextData finds the next stretch with data; io.EOF when there is none.
func nextData(f *os.File, at int64) (start, end int64, err error) {
	start, err = f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = f.Seek(start, unix.SEEK_HOLE)
	return start, end, err
}

// copier yields stretches of files block by block.
type copier struct {
	ctx   context.Context
	yield yieldFunc
	block []byte
}

// copy yields n bytes of f from offset as the disk's at start. Beyond the
// file's end there are zeros, as for QEMU.
func (c *copier) copy(f io.ReaderAt, offset, start, n int64) error {
	for n > 0 {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		b := c.block[:min(n, blockSize)]
		got, err := f.ReadAt(b, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		clear(b[got:])
		if !c.yield(snapline.Extent{Offset: start, Length: int64(len(b)), Data: b}, nil) {
			return errEnough
		}
		offset, start, n = offset+int64(len(b)), start+int64(len(b)), n-int64(len(b))
	}
	return nil
}
