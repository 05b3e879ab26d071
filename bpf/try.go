package bpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Try loads a gate and attaches it, in the given way, to the loopback device of
// a network namespace that is made for it and is gone afterwards. It touches
// nothing else. An error that is ebpf.ErrNotSupported says that this kernel
// does not have it. It needs root.
func Try(mode Mode) error {
	return inNewNamespace(func() error {
		objs, err := load(snapline.PostCodepoint)
		if err != nil {
			return err
		}
		defer objs.Close()
		tie, err := attachPort(objs, port{nic: snapline.NIC{ID: "lo", Tap: "lo"}, index: 1}, mode)
		if err != nil {
			return err
		}
		return tie.detach()
	})
}

// TryRingBuffer asks the kernel for a ring buffer map, which the gate tells us
// of packets by (Linux 5.8).
func TryRingBuffer() error { return features.HaveMapType(ebpf.RingBuf) }

// NotSupported reports whether the kernel lacks what was tried, rather than
// that somebody forbids it.
func NotSupported(err error) bool { return errors.Is(err, ebpf.ErrNotSupported) }

// inNewNamespace calls f in a network namespace of its own, which has nothing
// but a loopback device.
func inNewNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		here, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer here.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		err = f()
		if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, back) // the thread stays locked, and ends with this goroutine
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
