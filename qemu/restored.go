package qemu

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"github.com/snapline/snapline/qemu/disk"
)

// restored is the disks that a machine was loaded with, and what they have
// replaced. A nil one is of a machine without disks, or that was not loaded.
type restored struct {
	mu       sync.Mutex
	exchange *disk.Exchange // nil once it is decided
	resumed  bool
	// moved maps the paths where disks and backing files were captured to those
	// here.
	moved map[string]string
}

// writeDisks puts a machine's disks where they are to be here, in the place of
// those that are there.
func (h *Hypervisor) writeDisks(ctx context.Context, socket string, info snapline.VMInfo, disks []snapline.StoredDisk) (*restored, error) {
	r := &restored{moved: map[string]string{}}
	opts := cmdline.Parse(info.Args)
	var all []disk.NewDisk
	for _, d := range disks {
		to := disk.NewDisk{
			Target: disk.Target{
				Path: h.dirs.local(d.Path), Format: d.Format, Size: d.Size, ClusterSize: d.ClusterSize,
				UID: info.UID, GID: info.GID, Mode: newDiskMode,
			},
			Extents: d.Extents(ctx),
		}
		if d.Backing != nil {
			below, err := h.placeBacking(ctx, info, d)
			if err != nil {
				return nil, fmt.Errorf("disk %s: %w", d.ID, err)
			}
			to.Backing, to.BackingFormat = below, d.Backing.Format
			if cmdline.Mentions(opts, info.Dir, d.Backing.Path) { // beside what is in the disk's header
				r.moved[d.Backing.Path] = below
			}
		}
		r.moved[d.Path] = to.Path
		all = append(all, to)
	}
	if len(all) == 0 {
		return r, nil
	}
	var err error
	r.exchange, err = h.disks.Exchange(ctx, socket, all)
	return r, err
}

// newDiskMode is for a disk that replaces none; backingMode for files that many
// may stand on and none may write to.
const (
	newDiskMode = 0o600
	backingMode = 0o444
)

func (h *Hypervisor) placeBacking(ctx context.Context, info snapline.VMInfo, d snapline.StoredDisk) (string, error) {
	b := d.Backing
	t := disk.Target{
		Path: h.dirs.local(b.Path), Format: b.Format, Size: b.Size, ClusterSize: b.ClusterSize,
		UID: info.UID, GID: info.GID, Mode: backingMode,
	}
	return h.disks.PlaceBacking(ctx, t, b.Digest, d.BackingExtents(ctx))
}

// undo puts back what was there before. The machine must be dead.
func (r *restored) undo() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exchange == nil {
		return nil
	}
	if err := r.exchange.Undo(); err != nil {
		return err
	}
	r.exchange = nil
	return nil
}

// resuming is called before the machine runs for the first time.
func (r *restored) resuming() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exchange == nil || r.resumed {
		return nil
	}
	return r.exchange.Resuming()
}

// hasRun notes that it runs.
func (r *restored) hasRun() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resumed = true
}

// letGo gives up what was there before, if the machine has run. Otherwise that
// stays for the next restore to find.
func (r *restored) letGo() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exchange == nil || !r.resumed {
		return nil
	}
	if err := r.exchange.Done(); err != nil {
		return err
	}
	r.exchange = nil
	return nil
}

// failed joins an error with what comes of undoing.
func (r *restored) failed(err error) error { return errors.Join(err, r.undo()) }
