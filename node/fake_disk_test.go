package node_test

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/snapline/snapline"
)

// fakeDisk is a disk of one page, perhaps on a backing file of one page.
type fakeDisk struct {
	id      string
	content string
	below   string // "": none
	// frozen counts captures that have not been released.
	frozen atomic.Int32
	// read counts how often the backing file was read.
	read atomic.Int32
}

func (d *fakeDisk) freeze() snapline.FrozenDisk {
	d.frozen.Add(1)
	return &frozenDisk{disk: d, content: d.content}
}

type frozenDisk struct {
	disk     *fakeDisk
	content  string
	released bool
}

func pageOf(text string) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		b := make([]byte, snapline.PageSize)
		copy(b, text)
		yield(snapline.Extent{Length: snapline.PageSize, Data: b}, nil)
	}
}

func (f *frozenDisk) Info() snapline.DiskInfo {
	return snapline.DiskInfo{ID: f.disk.id, Path: "/vm/" + f.disk.id, Format: "qcow2", Size: snapline.PageSize}
}
func (f *frozenDisk) Extents(context.Context) iter.Seq2[snapline.Extent, error] {
	return pageOf(f.content)
}
func (f *frozenDisk) Release(context.Context) error {
	if !f.released {
		f.released = true
		f.disk.frozen.Add(-1)
	}
	return nil
}
func (f *frozenDisk) Backing() snapline.BackingFile {
	if f.disk.below == "" {
		return nil
	}
	return fakeBacking{f.disk}
}

type fakeBacking struct{ disk *fakeDisk }

func (b fakeBacking) Info() snapline.DiskInfo {
	return snapline.DiskInfo{Path: "/vm/base", Format: "raw", Size: snapline.PageSize}
}
func (b fakeBacking) Digest(context.Context) (string, error) { return "digest of " + b.disk.below, nil }
func (b fakeBacking) Extents(context.Context) iter.Seq2[snapline.Extent, error] {
	b.disk.read.Add(1)
	return pageOf(b.disk.below)
}

// loadDisk makes a disk of a stored one.
func loadDisk(ctx context.Context, s snapline.StoredDisk) (*fakeDisk, error) {
	d := &fakeDisk{id: s.ID}
	read := func(extents iter.Seq2[snapline.Extent, error]) (text string, err error) {
		for e, err := range extents {
			if err != nil {
				return "", err
			}
			for _, c := range e.Data {
				if c != 0 {
					text += string(rune(c))
				}
			}
		}
		return text, nil
	}
	var err error
	if d.content, err = read(s.Extents(ctx)); err != nil {
		return nil, err
	}
	if s.Backing == nil {
		return d, nil
	}
	if d.below, err = read(s.BackingExtents(ctx)); err != nil {
		return nil, err
	}
	if s.Backing.Digest != "digest of "+d.below {
		return nil, fmt.Errorf("backing file %q has digest %q", d.below, s.Backing.Digest)
	}
	return d, nil
}
