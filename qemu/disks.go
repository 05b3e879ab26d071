package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
)

// holdTime is how long a VM may be stopped for the end of a disk's merge.
const holdTime = 5 * time.Second

// mergeTime bounds the merge of disks whose capture is given up. What is not
// done by then is done when the VM is adopted the next time.
const mergeTime = time.Minute

// diskMachine is the VM as package disk sees it.
func (v *VM) diskMachine() disk.Machine {
	return disk.Machine{Name: v.name, Client: v.client, PID: v.proc.pid, Hold: v.hold}
}

// hold stops the VM under a guard.
func (v *VM) hold(ctx context.Context) (letGo func(), err error) {
	if v.currentPause() != nil {
		return func() {}, nil
	}
	if err := v.Pause(ctx, holdTime); err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		v.Resume(ctx) // or its guard does
	}, nil
}

// frozenDiskProblems lists the disks that cannot be captured.
func (v *VM) frozenDiskProblems(ctx context.Context) ([]snapline.Reason, error) {
	var all []snapline.Reason
	v.mu.Lock()
	trouble := v.diskTrouble
	v.mu.Unlock()
	if trouble != nil {
		all = append(all, snapline.Reason{Text: trouble.Error()})
	}
	_, reasons, err := disk.Discover(ctx, v.diskMachine())
	return append(all, reasons...), err
}

// prepareDisks adds an overlay to each disk.
func (c *capture) prepareDisks(ctx context.Context, label string) error {
	store := c.vm.hypervisor.disks
	if store == nil {
		return nil
	}
	machine := c.vm.diskMachine()
	disks, reasons, err := disk.Discover(ctx, machine)
	if err != nil {
		return err
	}
	var refused []error
	for _, r := range reasons {
		refused = append(refused, errors.New(r.Text))
	}
	if len(refused) > 0 || len(disks) == 0 {
		return errors.Join(refused...)
	}
	c.disks, err = store.Prepare(ctx, machine, label, disks)
	return err
}

// freezeDisks stops the VM, if it is not, and has it write to the overlays from
// now on. The capture that follows lets it run again.
func (c *capture) freezeDisks(ctx context.Context) error {
	if c.disks == nil {
		return nil
	}
	if c.vm.currentPause() == nil {
		if err := c.vm.Pause(ctx, c.vm.hypervisor.patience); err != nil {
			return err
		}
	}
	if !c.vm.currentPause().held() {
		return errPauseEnded
	}
	return c.disks.Switch(ctx)
}

// settleDisks waits for the journal's disk; outside of the pause, and of the
// time that the gate is up.
func (c *capture) settleDisks() error {
	if c.disks == nil {
		return nil
	}
	return c.disks.Settle()
}

func (c *capture) frozenDisks() []snapline.FrozenDisk {
	if c.disks == nil {
		return nil
	}
	return c.disks.Frozen()
}

// dropDisks gives up what was prepared or frozen. What cannot be merged now
// stays in the journal.
func (c *capture) dropDisks() {
	if c.disks == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), mergeTime)
	defer cancel()
	if err := c.disks.Cancel(ctx); err != nil {
		c.vm.mu.Lock()
		c.vm.diskTrouble = err
		c.vm.mu.Unlock()
	}
}

// recoverDisks merges what an earlier agent has left frozen. The VM can be
// adopted all the same; Problems tells what is wrong.
func (v *VM) recoverDisks(ctx context.Context) {
	if store := v.hypervisor.disks; store != nil {
		err := store.RecoverRunning(ctx, v.diskMachine())
		v.mu.Lock()
		v.diskTrouble = err
		v.mu.Unlock()
	}
}

// recoverStopped does the same for the disks of a VM that is not running.
func (h *Hypervisor) recoverStopped(ctx context.Context, socket string) error {
	if h.disks == nil {
		return nil
	}
	return h.disks.RecoverStopped(ctx, socket)
}

// RecoverDisks merges what snapshots have left of the disks of VMs that are
// dead now; call it when the agent starts, when a VM has gone, and before a
// VM's disks are replaced. Those of running VMs are left to Adopt.
func (h *Hypervisor) RecoverDisks(ctx context.Context) error {
	if h.disks == nil {
		return nil
	}
	sockets, err := h.disks.Pending()
	all := []error{err}
	for _, s := range sockets {
		if err := h.recoverStopped(ctx, s); err != nil && !errors.Is(err, disk.ErrInUse) {
			all = append(all, fmt.Errorf("disks of the VM at %s: %w", s, err))
		}
	}
	return errors.Join(all...)
}
