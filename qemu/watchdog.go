package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog is the parent's end of a VM's guard process. There is at most one:
// two would read each other's answers on the connection when the parent dies.
type watchdog struct {
	control *os.File
	child   *os.Process
	over    chan struct{} // closed when the guard has ended
	fired   atomic.Bool   // it has let the VM run, or ended unasked
	off     atomic.Bool   // dismissed on purpose

	ordering sync.Mutex    // one order and its answer at a time
	armed    chan struct{} // the answer

	mu    sync.Mutex
	holds map[*hold]struct{}
}

// hold is one reason to have a guard: a pause, a capture. The guard obeys the
// earliest deadline of all holds.
type hold struct {
	vm       *VM
	dog      *watchdog
	lost     func()
	deadline int64 // of CLOCK_BOOTTIME, ns; under dog.mu
}

// watchOver returns when a guard watches over the VM, at most for the given
// time. lost is called when the guard has ended unasked.
func (v *VM) watchOver(ctx context.Context, atMost time.Duration, lost func()) (*hold, error) {
	v.guarding.Lock()
	defer v.guarding.Unlock()
	if v.guard == nil || v.guard.fired.Load() {
		dog, err := v.startGuard()
		if err != nil {
			return nil, fmt.Errorf("guard: %w", err)
		}
		v.guard = dog
	}
	h := &hold{vm: v, dog: v.guard, lost: lost, deadline: bootTime() + int64(atMost)}
	h.dog.mu.Lock()
	h.dog.holds[h] = struct{}{}
	h.dog.mu.Unlock()
	if err := h.extend(ctx, atMost); err != nil {
		h.drop()
		return nil, err
	}
	return h, nil
}

// startGuard starts a guard without a deadline.
func (v *VM) startGuard() (*watchdog, error) {
	w, err := newWatchdog(v.spawnGuard)
	if err == nil {
		v.guards.Go(w.listen)
	}
	return w, err
}

// newWatchdog starts a guard process, which spawn gives its end of the control
// connection. The caller runs listen.
func newWatchdog(spawn func(control int) (*os.Process, error)) (*watchdog, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	child, err := spawn(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	return &watchdog{
		control: os.NewFile(uintptr(pair[0]), "guard"), child: child,
		over: make(chan struct{}), armed: make(chan struct{}, 1), holds: map[*hold]struct{}{},
	}, nil
}

func (v *VM) spawnGuard(control int) (*os.Process, error) {
	monitor, err := v.client.Dup()
	if err != nil {
		return nil, err
	}
	defer unix.Close(monitor)
	var child *os.Process
	if ctrlErr := v.proc.raw.Control(func(pidfd uintptr) {
		env := append(os.Environ(), guardDisks+"="+v.hypervisor.disks.Dir())
		child, err = spawn{Args: v.hypervisor.opts.GuardCommand, Env: env, Files: map[int]int{
			guardControl: control, guardMonitor: monitor, guardProcess: int(pidfd),
		}}.start()
	}); ctrlErr != nil {
		return nil, ctrlErr
	}
	return child, err
}

// listen hears the guard out and reaps it.
func (w *watchdog) listen() {
	buf := make([]byte, 16)
	for {
		n, err := w.control.Read(buf)
		if n <= 0 || err != nil {
			break
		}
		switch buf[0] {
		case guardArmed:
			select {
			case w.armed <- struct{}{}:
			default:
			}
		case guardFired:
			w.fired.Store(true)
		}
	}
	w.control.Close()
	w.child.Wait()
	unasked := !w.off.Load()
	if unasked {
		w.fired.Store(true)
	}
	close(w.over)
	if !unasked {
		return
	}
	w.mu.Lock()
	var lost []func()
	for h := range w.holds {
		lost = append(lost, h.lost)
	}
	w.mu.Unlock()
	for _, f := range lost {
		f()
	}
}

// order tells the guard the earliest deadline, and returns when it knows.
func (w *watchdog) order(ctx context.Context) error {
	w.ordering.Lock()
	defer w.ordering.Unlock()
	w.mu.Lock()
	var earliest int64
	for h := range w.holds {
		if earliest == 0 || h.deadline < earliest {
			earliest = h.deadline
		}
	}
	w.mu.Unlock()
	select {
	case <-w.armed: // the answer to an order that nobody waited for
	default:
	}
	if _, err := w.control.Write(guardOrder{earliest}.encode()); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	select {
	case <-w.armed:
		return nil
	case <-w.over:
		return errors.New("guard ended by itself: does its command call qemu.Guard?")
	case <-ctx.Done():
		return fmt.Errorf("guard: %w", context.Cause(ctx))
	}
}

// dismiss tells the guard that it is not needed any more. It ends in its own
// time; one that hangs is killed, its silence being all that is needed.
func (w *watchdog) dismiss() {
	w.off.Store(true)
	w.control.Write(guardOrder{}.encode())
	late := time.AfterFunc(time.Second, func() { w.child.Kill() })
	go func() {
		<-w.over
		late.Stop()
	}()
}

// extend puts this hold's deadline to d from now.
func (h *hold) extend(ctx context.Context, d time.Duration) error {
	h.dog.mu.Lock()
	h.deadline = bootTime() + int64(d)
	h.dog.mu.Unlock()
	return h.dog.order(ctx)
}

// release gives the hold up, and dismisses the guard if it was the last.
func (h *hold) release() {
	h.vm.guarding.Lock()
	defer h.vm.guarding.Unlock()
	h.drop()
}

// drop is release for one who has the lock.
func (h *hold) drop() {
	h.dog.mu.Lock()
	delete(h.dog.holds, h)
	left := len(h.dog.holds)
	h.dog.mu.Unlock()
	switch {
	case left == 0:
		h.dog.dismiss()
		if h.vm.guard == h.dog {
			h.vm.guard = nil
		}
	case !h.dog.fired.Load():
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		h.dog.order(ctx) // without this one's deadline; fails only with the guard
	}
}

// fired reports whether the VM is not guarded any more.
func (h *hold) fired() bool { return h.dog.fired.Load() }

// bootTime is now on CLOCK_BOOTTIME, in ns.
func bootTime() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail on Linux ≥ 2.6.39
	return ts.Nano()
}
