package snapline

import (
	"context"
	"iter"
)

// FrozenDisk is a disk as it was at the instant of a capture, readable while
// the VM writes on elsewhere. Methods may be called from several goroutines.
type FrozenDisk interface {
	Info() DiskInfo
	// Extents yields, in order and without overlap, what the disk holds above
	// its backing file; what is left out reads as the backing file, or as zeros
	// when there is none. An Extent's Data is valid until the next one. The first
	// error is the last thing yielded.
	Extents(ctx context.Context) iter.Seq2[Extent, error]
	// Backing is the read-only file that the disk stands on; nil when it stands
	// alone.
	Backing() BackingFile
	// Release gives the frozen layer up: it is merged with what the VM has
	// written since. The VM runs meanwhile. After an error the VM still runs on
	// both, nothing is lost, and Release may be called again. Calling it again
	// after success is no error.
	Release(ctx context.Context) error
}

// BackingFile is the read-only file under a disk, often shared by many.
type BackingFile interface {
	Info() DiskInfo
	// Digest identifies the content, whatever the format: see docs of the
	// implementation. It reads the whole file.
	Digest(ctx context.Context) (string, error)
	// Extents yields the content; see FrozenDisk.
	Extents(ctx context.Context) iter.Seq2[Extent, error]
}

// DiskInfo says what a disk is.
type DiskInfo struct {
	// ID is the name that the VM's configuration gives it; no two disks of a VM
	// have the same. It is empty for a backing file.
	ID string `json:"id,omitempty"`
	// Path is absolute, on the host where it was captured.
	Path string `json:"path"`
	// Format is "qcow2" or "raw".
	Format string `json:"format"`
	// Size is what the guest sees, in bytes.
	Size int64 `json:"size"`
	// ClusterSize divides every extent's Offset, and its Length except at the
	// disk's end; in bytes. 0: extents may begin anywhere.
	ClusterSize int64 `json:"cluster_size,omitempty"`
}

// Extent is one stretch of a disk. Offset and Length are multiples of PageSize,
// but that the last stretch may end with the disk.
type Extent struct {
	Offset, Length int64 // bytes
	// Data is the content, Length bytes; nil means zeros.
	Data []byte
}

// PageSize is what disks and memory are divided into, in bytes.
const PageSize = 4096

// DiskContent is what a Repository stores of a disk.
type DiskContent struct {
	Size int64 // in bytes
	// Extents say what the disk holds, in any order; later ones win. An Extent's
	// Data need be valid only until the next one. Nil: none.
	Extents iter.Seq2[Extent, error]
	// Base, if not nil, is a committed disk of the same member whose content
	// stands wherever no extent does; otherwise that is zeros.
	Base *DiskRef
}

// DiskRef names a disk of another snapshot.
type DiskRef struct {
	Snapshot SnapshotID
	Name     string
	Object   Object
}

// StoredDisk is a disk of a snapshot on its way back onto a host.
type StoredDisk struct {
	DiskSnapshot
	// Extents reads what the disk holds above its backing file.
	Extents func(context.Context) iter.Seq2[Extent, error]
	// BackingExtents reads the backing file's content; it is needed only where
	// the file is missing. Nil when there is no backing file.
	BackingExtents func(context.Context) iter.Seq2[Extent, error]
}
