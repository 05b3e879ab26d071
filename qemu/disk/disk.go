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
	// Hold stops the VM for a moment, until the returned function is called. It
	// must let the VM run by itself should this process die or hang. A VM that is
	// stopped already is no error. IDE and SATA disks need it, and without it are
	// refused; others are stopped if they write faster than a merge copies.
	Hold func(ctx context.Context) (letGo func(), err error)
	// Watch has somebody call FreeJobs should this process die before the
	// returned function is called. May be nil: then a guest whose merge was just
	// ending waits for the next RecoverRunning.
	Watch func(ctx context.Context) (unwatch func(), err error)
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
	return snapline.DiskInfo{ID: d.ID, Path: d.Path, Format: d.Format, Size: d.Size, ClusterSize: newLayer(d).unit()}
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
