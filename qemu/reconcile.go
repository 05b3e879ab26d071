package qemu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
	"github.com/snapline/snapline/qemu/qmp"
)

// reconcileTime bounds the merges of running VMs at the start of an agent: what
// is not done by then goes on when the VM is adopted.
const reconcileTime = 20 * time.Second

// Reconcile finishes or undoes what an earlier life of this agent has left of
// the disks of all VMs, side by side: those of dead ones by qemu-img, those of
// running ones over their monitors, which are let go of afterwards. A VM whose
// monitor serves somebody else is left to the next Adopt. It also gives up disks
// that a restore had replaced, or puts them back, if it died before that. Disks that
// need a user's choice come as *disk.ConflictError in the error.
func (h *Hypervisor) Reconcile(ctx context.Context) error {
	sockets, err := h.disks.Pending()
	all := []error{err, h.disks.FinishRestores(ctx)}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, s := range sockets {
		wait.Go(func() {
			if err := h.reconcile(ctx, s); err != nil {
				mu.Lock()
				all = append(all, fmt.Errorf("disks of the VM at %s: %w", s, err))
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(all...)
}

func (h *Hypervisor) reconcile(ctx context.Context, socket string) error {
	stopped := h.disks.RecoverStopped(ctx, socket)
	if !errors.Is(stopped, disk.ErrInUse) {
		return stopped
	}
	soon, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	m := snapline.Member{Name: "pending", QEMU: &snapline.QEMU{QMP: socket}}
	found, err := h.Adopt(soon, m)
	var busy *qmp.BusyError
	switch {
	case errors.As(err, &busy):
		return nil
	case err != nil:
		return errors.Join(stopped, err)
	}
	defer found.Close()
	vm := found.(*VM)
	vm.mu.Lock()
	err = vm.diskTrouble
	vm.mu.Unlock()
	if soon.Err() != nil && ctx.Err() == nil {
		return nil // a matter of time
	}
	return err
}
