package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopped finishes or undoes one disk of a VM that is dead.
func (r restorer) stopped(ctx context.Context, disk int) error {
	p, at := r.journal.plan.Disks[disk], r.journal.progress(disk)
	if _, err := os.Stat(p.Overlay); errors.Is(err, os.ErrNotExist) {
		if at.step == prepared || at.step == pivoting || at.step == merged {
			return r.journal.record(disk, merged, nil)
		}
		return fmt.Errorf("overlay %s is missing, and with it what the guest has written since the snapshot: bring it back, or accept the loss and remove %s", p.Overlay, r.journal.path)
	}
	if err := checkUnused(ctx, p.Overlay, "qcow2"); err != nil {
		return err
	}
	if at.step != merged && at.step != pivoting {
		if err := r.commit(ctx, disk); err != nil {
			return err
		}
	}
	// What a killed QEMU has left in the file below is given back, if nobody has
	// started on it meanwhile.
	if err := checkUnused(ctx, p.Base, p.BaseFormat); err == nil {
		if err := repair(ctx, p.Base, p.BaseFormat); err != nil {
			return err
		}
	}
	if err := r.journal.record(disk, merged, nil); err != nil {
		return err
	}
	r.store.at("merged")
	return removeOverlay(p.Overlay)
}

// commit brings what the overlay holds, if anything, into the file below.
func (r restorer) commit(ctx context.Context, disk int) error {
	p := r.journal.plan.Disks[disk]
	blank, err := empty(ctx, p.Overlay)
	if err != nil || blank {
		return err
	}
	if err := checkUnused(ctx, p.Base, p.BaseFormat); err != nil {
		return err
	}
	alone, err := r.usedAlone(disk)
	if err != nil {
		return err
	}
	if alone {
		return &ConflictError{VM: r.journal.plan.Machine, Base: p.Base, Overlay: p.Overlay}
	}
	if err := r.journal.record(disk, committing, nil); err != nil {
		return err
	}
	r.store.at("committing")
	if err := r.commitTool(ctx, p); err != nil {
		return err
	}
	r.store.at("committed")
	return syncFile(p.Base)
}

// commitTool runs qemu-img, and marks the journal all the while. A QEMU that
// was killed may leave clusters in a file that nothing refers to; they are given
// back.
func (r restorer) commitTool(ctx context.Context, p planEntry) error {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now := time.Now()
				os.Chtimes(r.journal.path, now, now)
			case <-stop:
				return
			}
		}
	}()
	if err := repair(ctx, p.Overlay, "qcow2"); err != nil {
		return err
	}
	return runMortal(ctx, "commit", "-q", "-d", "-f", "qcow2", p.Overlay)
}

func repair(ctx context.Context, path, format string) error {
	if format != "qcow2" {
		return nil
	}
	return runMortal(ctx, "check", "-q", "-r", "leaks", "-f", "qcow2", path)
}

// runMortal runs qemu-img so that it does not outlive this process, which would
// change files behind the back of its successor. The thread is held because
// that is what the kernel watches (prctl(2), PR_SET_PDEATHSIG).
func runMortal(ctx context.Context, args ...string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return toolError(ctx, cmd, err, stderr.String())
	}
	return nil
}

// grace is how long after the last sign of life of whoever merges a file below
// may still have been written by it.
const grace = 5 * time.Second

// usedAlone reports whether the file below was written to by somebody who did
// not know of the overlay.
func (r restorer) usedAlone(disk int) (bool, error) {
	p, at := r.journal.plan.Disks[disk], r.journal.progress(disk)
	base, err := identify(p.Base)
	if err != nil {
		return false, err
	}
	if at.base != nil { // nobody may have written since
		return base != *at.base, nil
	}
	if !base.sameFile(p.Before) {
		return true, nil
	}
	overlay, err := identify(p.Overlay)
	if err != nil {
		return false, err
	}
	if at.step == prepared { // the guest wrote to one, and then to the other
		return base.MTime > overlay.MTime, nil
	}
	st, err := os.Stat(r.journal.path)
	if err != nil {
		return false, err
	}
	sign := max(overlay.MTime, st.ModTime().UnixNano()) + int64(grace)
	return base.MTime > max(sign, bootTime().UnixNano()), nil
}

// bootTime is when this machine started: what is older was written before.
func bootTime() time.Time {
	var up unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) // cannot fail on Linux ≥ 2.6.39
	return time.Now().Add(-time.Duration(up.Nano()))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
