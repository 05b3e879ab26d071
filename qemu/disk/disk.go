package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// Machine is a running VM and how to talk to it.
type Machine struct {
	Name   snapline.MemberName
	Client *qmp.Client
	PID    int // of the QEMU
	// Hold stops the VM for some milliseconds, until the returned function is
	// called. It must let the VM run by itself should this process die or hang.
	// Only IDE and SATA disks need it; without it they are refused.
	Hold func(ctx context.Context) (letGo func(), err error)
}

// Disk is one writable disk that can be frozen.
type Disk struct {
	ID     string
	Node   string // the node that the guest's device stands on
	Path   string // absolute
	Format string // qcow2, raw
	Size   int64  // bytes that the guest sees
	files  []image
	cache  cache
	hold   bool // see Machine.Hold
}

// Info describes the disk itself.
func (d Disk) Info() snapline.DiskInfo {
	return snapline.DiskInfo{ID: d.ID, Path: d.Path, Format: d.Format, Size: d.Size, ClusterSize: d.unit()}
}

// unit is the smallest stretch that a layer above the lowest file can hold; a
// raw file has none.
func (d Disk) unit() int64 {
	var least int64
	for i, f := range d.files {
		if i > 0 && i == len(d.files)-1 {
			break // the backing file's own does not show above it
		}
		if u := f.unit(); u > 0 && (least == 0 || u < least) {
			least = u
		}
	}
	return least
}

// identity tells whether a file was written since. A file that is replaced by
// another has another inode.
type identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Size   int64  `json:"size"`
	MTime  int64  `json:"mtime"` // ns
}

func identify(path string) (identity, error) {
	st, err := os.Stat(path)
	if err != nil {
		return identity{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, fmt.Errorf("stat %s: no inode", path)
	}
	return identity{uint64(sys.Dev), sys.Ino, st.Size(), st.ModTime().UnixNano()}, nil
}

// sameFile reports whether both are the same file, written to or not.
func (i identity) sameFile(j identity) bool { return i.Device == j.Device && i.Inode == j.Inode }

// directory is where the process's relative paths start.
func directory(pid int) (string, error) {
	dir, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return "", fmt.Errorf("working directory of process %d: %w", pid, err)
	}
	return dir, nil
}

// holds reports whether the process has the very file open: its path may mean
// another one in the process's own mount namespace or root directory.
func holds(pid int, id identity) (bool, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if open, err := identify(filepath.Join(dir, e.Name())); err == nil && open.sameFile(id) {
			return true, nil
		}
	}
	return false, nil
}
