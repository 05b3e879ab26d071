package disk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// ownPrefix begins the names of our nodes and jobs.
const ownPrefix = "snapline-"

// Set is the disks of one VM in one snapshot.
type Set struct {
	store   *Store
	machine Machine
	journal *journal
	disks   []Disk

	mu       sync.Mutex // one change at a time
	switched bool
	over     bool
}

// Prepare makes an overlay beside each disk and adds it to the VM, which does
// not use it yet. label says in the overlays' names which snapshot they belong
// to. There must be at least one disk. After an error nothing is left.
func (s *Store) Prepare(ctx context.Context, m Machine, label string, disks []Disk) (*Set, error) {
	p, err := newPlan(m, label, disks)
	if err != nil {
		return nil, err
	}
	j, err := create(s.dir, p)
	if err != nil {
		return nil, err
	}
	set := &Set{store: s, machine: m, journal: j, disks: disks}
	s.at("planned")
	if err := set.prepare(ctx); err != nil {
		return nil, errors.Join(err, set.Cancel(context.WithoutCancel(ctx)))
	}
	return set, nil
}

func newPlan(m Machine, label string, disks []Disk) (plan, error) {
	p := plan{Format: planFormat, Machine: string(m.Name), QMP: m.Client.Path(), Label: label}
	token := make([]byte, 4)
	rand.Read(token)
	label = unsafeInID.ReplaceAllString(label, "-")
	for i, d := range disks {
		before, err := identify(d.Path)
		if err != nil {
			return p, err
		}
		p.Disks = append(p.Disks, planEntry{
			ID: d.ID, Base: d.Path, BaseFormat: d.Format, BaseNode: d.Node, Before: before, Hold: d.hold,
			Overlay: fmt.Sprintf("%s.snapline-%s.qcow2", d.Path, label),
			Node:    ownPrefix + hex.EncodeToString(token) + "-" + strconv.Itoa(i),
		})
	}
	for _, d := range p.Disks { // before the journal says that it would be ours
		if _, err := os.Lstat(d.Overlay); err == nil {
			return p, fmt.Errorf("overlay %s exists already: it is not of this snapshot; commit it with qemu-img or remove it", d.Overlay)
		}
	}
	return p, nil
}

func (s *Set) prepare(ctx context.Context) error {
	for i, d := range s.disks {
		if err := makeOverlay(ctx, d, s.journal.plan.Disks[i].Overlay); err != nil {
			return err
		}
		if i == 0 {
			s.store.at("first-overlay")
		}
	}
	s.store.at("overlays")
	for i, d := range s.disks {
		p := s.journal.plan.Disks[i]
		add := blockdevAdd{
			Driver: "qcow2", Node: p.Node, Discard: "unmap", Cache: d.cache,
			File: blockdevChild{Driver: "file", Filename: p.Overlay, Discard: "unmap", Cache: d.cache},
		}
		if _, err := qmp.Run(ctx, s.machine.Client, add); err != nil {
			return fmt.Errorf("open overlay %s: %w (may QEMU open new files there?)", p.Overlay, err)
		}
	}
	s.store.at("nodes")
	return nil
}

// makeOverlay creates an empty overlay that belongs to whom the disk does, and
// whose header names the disk: who starts the VM on it sees everything.
func makeOverlay(ctx context.Context, d Disk, path string) error {
	st, err := os.Stat(d.Path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, st.Mode().Perm())
	if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	defer f.Close()
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
	}
	if err := f.Chmod(st.Mode().Perm()); err != nil { // whatever the umask
		return fmt.Errorf("overlay: %w", err)
	}
	_, err = imageTool(ctx, "create", "-q", "-f", "qcow2", "-u", "-b", d.Path, "-F", d.Format, path, strconv.FormatInt(d.Size, 10))
	if err != nil {
		return err
	}
	// The guest will count on it when its flush is answered.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// Flush writes out what the guest has written so far, best just before Switch:
// QEMU flushes all disks whenever it stops the VM, and the less there is to be
// written, the shorter is the stop.
func (s *Set) Flush() error {
	for _, d := range s.disks {
		f, err := os.Open(d.Path)
		if err != nil {
			return fmt.Errorf("flush disk: %w", err)
		}
		if err := errors.Join(unix.Fdatasync(int(f.Fd())), f.Close()); err != nil {
			return fmt.Errorf("flush disk %s: %w", d.Path, err)
		}
	}
	return nil
}

// Switch freezes all disks at once: from its return the guest writes to the
// overlays. The VM must be stopped during the call, and should run soon
// afterwards; then call Settle. After an error none is frozen.
func (s *Set) Switch(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.switched || s.over {
		return errors.New("switch disks: done already")
	}
	var all transaction
	for _, p := range s.journal.plan.Disks {
		all.Actions = append(all.Actions, action{"blockdev-snapshot", snapshotAction{Node: p.BaseNode, Overlay: p.Node}})
	}
	_, err := qmp.Run(ctx, s.machine.Client, all)
	if qmp.IsRefused(err) {
		return fmt.Errorf("switch disks: %w", err)
	}
	s.switched = true // also when the answer is lost
	if err != nil {
		return fmt.Errorf("switch disks: %w", err)
	}
	s.store.at("switched")
	for i, p := range s.journal.plan.Disks {
		base, err := identify(p.Base)
		if err != nil {
			return err
		}
		if err := s.journal.note(i, switched, &base); err != nil {
			return err
		}
	}
	s.store.at("noted")
	return nil
}

// Settle makes sure that the journal's note of the switch is on disk; outside
// of the VM's pause.
func (s *Set) Settle() error { return s.journal.sync() }

// Frozen lists the disks, readable until each is released.
func (s *Set) Frozen() []snapline.FrozenDisk {
	all := make([]snapline.FrozenDisk, len(s.disks))
	for i := range s.disks {
		all[i] = &frozen{set: s, index: i, layer: newLayer(s.disks[i])}
	}
	return all
}

// Cancel undoes Prepare, or merges what Switch has frozen. Calling it again
// does nothing.
func (s *Set) Cancel(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	for i := range s.disks {
		if err := s.finish(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// release merges one disk.
func (s *Set) release(ctx context.Context, disk int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	return s.finish(ctx, disk)
}

// finish brings one disk to its end, and with the last one the journal.
func (s *Set) finish(ctx context.Context, disk int) error {
	r := restorer{store: s.store, machine: s.machine, journal: s.journal}
	if err := r.running(ctx, disk); err != nil {
		return err
	}
	for i := range s.disks {
		if s.journal.progress(i).step != merged {
			return nil
		}
	}
	s.over = true
	return s.journal.remove()
}
