package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// VM is one QEMU process that this process holds the monitor of.
type VM struct {
	hypervisor *Hypervisor
	name       snapline.MemberName
	client     *qmp.Client
	proc       *process
	info       snapline.VMInfo
	gone       chan struct{}

	diskTrouble error     // what an earlier capture of the disks has left, and why
	restored    *restored // of a VM that Load has started
	keeper      *keeper   // likewise, until it runs; nil otherwise

	mu      sync.Mutex
	pause   *pause   // of Pause; nil while the VM runs
	capture *capture // under way; nil if none
	// unplugged are the taps of a VM that Load has started, until Plug.
	unplugged []string

	guarding sync.Mutex // starting and dismissing the guard
	guard    *watchdog  // nil while nothing holds the VM up
	guards   sync.WaitGroup
}

var _ snapline.VM = (*VM)(nil)

func newVM(h *Hypervisor, name snapline.MemberName, c *qmp.Client, p *process) *VM {
	vm := &VM{hypervisor: h, name: name, client: c, proc: p, gone: make(chan struct{})}
	go func() {
		defer close(vm.gone)
		select {
		case <-c.Done():
		case <-p.gone:
		}
	}()
	return vm
}

// Info is what was found when the VM was adopted or loaded.
func (v *VM) Info() snapline.VMInfo {
	info := v.info
	info.Args, info.Env, info.NICs = slices.Clone(info.Args), slices.Clone(info.Env), slices.Clone(info.NICs)
	return info
}

// Gone is closed when the process has exited or its monitor's connection has
// ended, also by Close.
func (v *VM) Gone() <-chan struct{} { return v.gone }

// Announce has QEMU send reverse ARP requests from the guest's addresses, five
// over about a second, so that switches learn where it is now.
func (v *VM) Announce(ctx context.Context) error {
	cmd := qmp.AnnounceSelf{Initial: 50, Max: 550, Rounds: 5, Step: 100} // QEMU's own defaults
	if _, err := qmp.Run(ctx, v.client, cmd); err != nil {
		return fmt.Errorf("announce vm %s: %w", v.name, err)
	}
	return nil
}

// Kill ends the process at once and waits until it, its sockets and its taps
// are gone. Disks that Load has replaced are put back.
func (v *VM) Kill(ctx context.Context) error {
	if err := v.proc.kill(ctx); err != nil {
		return fmt.Errorf("kill vm %s: %w", v.name, err)
	}
	v.keeper.release()
	if err := v.restored.undo(); err != nil {
		return fmt.Errorf("kill vm %s: %w", v.name, err)
	}
	return nil
}

// Plug brings the taps up that Load has made.
func (v *VM) Plug(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.unplugged) == 0 {
		return nil
	}
	if err := v.hypervisor.plugTaps(v.unplugged); err != nil {
		return fmt.Errorf("plug vm %s: %w", v.name, err)
	}
	v.unplugged = nil
	return nil
}

// Close cancels a capture under way, ends a pause of ours, and lets go of the
// monitor. A VM that Load has started and nobody has resumed stays paused, and
// the disks that it has replaced stay beside its own; if Resume was called, they
// are given up.
func (v *VM) Close() error {
	v.mu.Lock()
	c := v.capture
	v.mu.Unlock()
	if c != nil {
		c.Cancel()
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	err := v.unpause(ctx)
	v.keeper.release()
	v.guards.Wait() // at most the second after which one that hangs is killed
	v.client.Close()
	v.proc.release()
	return errors.Join(err, v.restored.letGo())
}

// Status is QEMU's run state: running, paused, postmigrate, …
func (v *VM) Status(ctx context.Context) (string, error) {
	st, err := v.status(ctx)
	if err != nil {
		return "", fmt.Errorf("vm %s: %w", v.name, err)
	}
	return st.Status, nil
}

func (v *VM) status(ctx context.Context) (qmp.Status, error) {
	return qmp.Run(ctx, v.client, qmp.QueryStatus{})
}
