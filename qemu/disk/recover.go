package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// ConflictError says that a disk has two futures: one in the overlay, and one
// in the file below, because somebody has started the VM on that alone. Only
// the user knows which one to keep; both are left as they are.
type ConflictError struct {
	VM            string
	Base, Overlay string
	Running       bool // the VM runs on Base now
}

func (e *ConflictError) Error() string {
	what := "was written to"
	if e.Running {
		what = "is in use"
	}
	return fmt.Sprintf("vm %s: disk %s %s without its overlay %s, which holds what the guest had written before it died; nothing was merged. "+
		"To keep the disk as it is now: rm %s. To go back to the overlay: stop the VM and qemu-img commit -f qcow2 %s",
		e.VM, e.Base, what, e.Overlay, e.Overlay, e.Overlay)
}

// ErrInUse says that a process, perhaps the VM itself, has a disk open.
var ErrInUse = errors.New("in use")

// RecoverRunning finishes or undoes what a crash has left of a VM that runs: an
// overlay in use is committed live, one that never was is removed. Without a
// journal it does nothing. A *ConflictError joined in the error means that
// the user must choose.
func (s *Store) RecoverRunning(ctx context.Context, m Machine) error {
	return s.recover(m.Client.Path(), func(j *journal, disk int) error {
		return restorer{store: s, machine: m, journal: j}.running(ctx, disk)
	})
}

// RecoverStopped does the same for the disks of the VM of a QMP socket, when
// the VM is dead: overlays are committed by qemu-img. ErrInUse when it is not.
func (s *Store) RecoverStopped(ctx context.Context, qmp string) error {
	return s.recover(qmp, func(j *journal, disk int) error {
		return restorer{store: s, journal: j}.stopped(ctx, disk)
	})
}

// recover does each disk of a journal, and removes it when all are done.
func (s *Store) recover(qmp string, do func(j *journal, disk int) error) error {
	j, err := open(journalPath(s.dir, qmp))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []error
	for i := range j.plan.Disks {
		if err := do(j, i); err != nil {
			all = append(all, fmt.Errorf("recover disk %s: %w", j.plan.Disks[i].ID, err))
		}
	}
	if len(all) > 0 {
		j.close()
		return errors.Join(all...)
	}
	return j.remove()
}

// Opener finds a process other than this one that has the file open, and that
// except does not let pass; 0 if there is none.
func Opener(path string, except func(pid int) bool) (pid int, err error) {
	id, err := identify(path)
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if open, err := holds(pid, id); err == nil && open && !except(pid) { // an error: it has gone
			return pid, nil
		}
	}
	return 0, nil
}

// checkUnused wants nobody to have the file open: neither as any process shows,
// nor by QEMU's own locks, which also a process elsewhere may hold.
func checkUnused(ctx context.Context, path, format string) error {
	pid, err := Opener(path, func(int) bool { return false })
	if err != nil {
		return err
	}
	if pid != 0 {
		exe, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
		return fmt.Errorf("%s: %w by process %d (%s)", path, ErrInUse, pid, exe)
	}
	if _, err := imageTool(ctx, "info", "--output=json", "-f", format, path); err != nil {
		if _, again := imageTool(ctx, "info", "--output=json", "-U", "-f", format, path); again == nil {
			return fmt.Errorf("%s: %w: %w", path, ErrInUse, err)
		}
		return err
	}
	return nil
}
