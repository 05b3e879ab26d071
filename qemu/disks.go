package qemu

import (
	"context"
	"errors"
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
	return disk.Machine{Name: v.name, Client: v.client, PID: v.proc.pid, Hold: v.hold, Watch: v.watchMerge}
}

// watchTime is for a guard that waits for this process's death only.
const watchTime = 365 * 24 * time.Hour

// watchMerge has a guard that ends the VM's merges if this process dies.
func (v *VM) watchMerge(ctx context.Context) (unwatch func(), err error) {
	guard, err := v.watchOver(ctx, watchTime, func() {})
	if err != nil {
		return nil, err
	}
	return guard.release, nil
}

// hold stops the VM under a guard, if it runs.
func (v *VM) hold(ctx context.Context) (letGo func(), err error) {
	if v.currentPause() != nil {
		return func() {}, nil
	}
	if st, err := v.status(ctx); err != nil || !st.Running {
		return func() {}, err
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

// diskProblems lists the disks that cannot be captured.
func (v *VM) diskProblems(ctx context.Context) ([]snapline.Reason, error) {
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
	c.disks, err = c.vm.hypervisor.disks.Prepare(ctx, machine, label, disks)
	return err
}

// flushDisks shortens the stop that is to come.
func (c *capture) flushDisks() error {
	if c.disks == nil {
		return nil
	}
	return c.disks.Flush()
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
	err := v.hypervisor.disks.RecoverRunning(ctx, v.diskMachine())
	v.mu.Lock()
	v.diskTrouble = err
	v.mu.Unlock()
}
