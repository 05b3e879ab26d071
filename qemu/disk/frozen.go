package disk

import (
	"context"
	"iter"

	"github.com/snapline/snapline"
)

// frozen is one disk of a Set.
type frozen struct {
	set   *Set
	index int
	layer layer
}

var _ snapline.FrozenDisk = (*frozen)(nil)

func (f *frozen) Info() snapline.DiskInfo { return f.set.disks[f.index].Info() }

func (f *frozen) Extents(ctx context.Context) iter.Seq2[snapline.Extent, error] {
	return f.layer.extents(ctx)
}

func (f *frozen) Backing() snapline.BackingFile {
	files := f.layer.files
	if len(files) == 1 {
		return nil
	}
	b := backing{files[len(files)-1]}
	if f.set.store == nil {
		return b
	}
	return cached{b, f.set.store.digests}
}

func (f *frozen) Release(ctx context.Context) error { return f.set.release(ctx, f.index) }

// backing is the lowest file of a chain.
type backing struct{ file image }

var _ snapline.BackingFile = backing{}

func (b backing) Info() snapline.DiskInfo {
	return snapline.DiskInfo{Path: b.file.Filename, Format: b.file.Format, Size: b.file.VirtualSize, ClusterSize: b.file.unit()}
}

func (b backing) Extents(ctx context.Context) iter.Seq2[snapline.Extent, error] {
	return layer{[]image{b.file}, b.file.VirtualSize}.extents(ctx)
}

// Digest is Digest of the content, computed anew.
func (b backing) Digest(ctx context.Context) (string, error) {
	return Digest(b.file.VirtualSize, b.Extents(ctx))
}

// OpenBacking reads a file that may stand in for a backing file of the same
// digest. It must have no backing file itself.
func OpenBacking(ctx context.Context, path, format string) (snapline.BackingFile, error) {
	files, err := chain(ctx, path, format)
	if err != nil {
		return nil, err
	}
	if err := checkChain(files, "/"); err != nil {
		return nil, err
	}
	return backing{files[len(files)-1]}, nil
}
