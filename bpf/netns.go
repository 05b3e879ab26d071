package bpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is the path of a network namespace; empty is the one that the
// process lives in.
type namespace string

// do calls f on a thread that is in the namespace. Sockets and netlink handles
// that f opens stay in it; interface indexes that f passes to the kernel are
// looked up in it.
func (n namespace) do(f func() error) error {
	if n == "" {
		return f()
	}
	there, err := os.Open(string(n))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer there.Close()

	done := make(chan error, 1)
	go func() { done <- enter(there, f) }()
	return <-done
}

// enter calls f in another namespace and comes back. It wants a goroutine of its
// own: when coming back fails, the thread is left locked and dies with it.
func enter(there *os.File, f func() error) error {
	runtime.LockOSThread()
	here, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open this thread's network namespace: %w", err)
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", there.Name(), err)
	}
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave network namespace %s: %w", there.Name(), back))
	}
	runtime.UnlockOSThread()
	return err
}
