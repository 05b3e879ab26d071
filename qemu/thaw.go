package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// A background snapshot write-protects the guest's memory with a userfaultfd,
// and QEMU lifts the protection as pages are sent. QEMU before 8.1 forgets the
// rest when the snapshot fails or is cancelled, also when the reader of the
// stream has died: the guest then waits for ever at its next write. What it
// forgot can be lifted from outside, on a duplicate of its descriptor
// (pidfd_getfd(2), ioctl_userfaultfd(2)).
//
// One trace stays in such a QEMU: it believes its memory protected until a
// background snapshot has succeeded, and fails plain migrations until then.

// thaw lifts the write protection of all of the process's memory. A process
// without one is left alone. A snapshot under way is lost by it.
func (p *process) thaw() error {
	fds, err := p.userfaults()
	if err != nil || len(fds) == 0 {
		return err
	}
	ranges, err := p.protected()
	if err != nil || len(ranges) == 0 {
		return err
	}
	for _, fd := range fds {
		own, err := p.dup(fd)
		if err != nil {
			return fmt.Errorf("thaw process %d: %w", p.pid, err)
		}
		for _, r := range ranges {
			r.unprotect(own) // fails for memory that another descriptor protects
		}
		unix.Close(own)
	}
	return nil
}

// keepThawing thaws again and again until the returned function is called: a
// capture that is failing may still protect more.
func keepThawing(p *process) (stop func() error) {
	done, result := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := p.thaw(); err != nil {
				result <- err
				return
			}
			select {
			case <-tick.C:
			case <-done:
				result <- nil
				return
			}
		}
	}()
	return func() error { close(done); return <-result }
}

// canThaw reports whether thaw would be permitted: it takes what ptrace takes.
func (p *process) canThaw() error {
	entries, err := os.ReadDir(p.path("fd"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		own, err := p.dup(fd)
		if errors.Is(err, unix.EBADF) {
			continue // closed meanwhile
		}
		if err == nil {
			unix.Close(own)
		}
		return err
	}
	return nil
}

// dup duplicates one of the process's descriptors.
func (p *process) dup(fd int) (own int, err error) {
	if ctrlErr := p.raw.Control(func(pidfd uintptr) {
		own, err = unix.PidfdGetfd(int(pidfd), fd, 0)
	}); ctrlErr != nil {
		return -1, ctrlErr
	}
	return own, err
}

// userfaults lists the process's userfaultfd descriptors.
func (p *process) userfaults() ([]int, error) {
	entries, err := os.ReadDir(p.path("fd"))
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, e := range entries {
		target, err := os.Readlink(p.path("fd/" + e.Name()))
		if err != nil || target != "anon_inode:[userfaultfd]" {
			continue
		}
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// waitsForMemory reports whether the main loop stands still at memory that is
// write-protected (proc_pid_wchan(5): handle_userfault). A capture that is alive
// keeps it waiting for no more than milliseconds at a time. A kernel that does
// not show where threads sleep tells nothing.
func (p *process) waitsForMemory() bool {
	for range waitSamples {
		where, err := p.proc("wchan")
		if err != nil || !strings.Contains(string(where), "userfault") {
			return false
		}
		time.Sleep(waitSample)
	}
	return true
}

// How often, and how far apart, waitsForMemory looks.
const (
	waitSamples = 20
	waitSample  = 10 * time.Millisecond
)

// memoryRange is struct uffdio_range, with the mode that makes it struct
// uffdio_writeprotect.
type memoryRange struct{ start, length, mode uint64 }

// ioctl requests of include/uapi/linux/userfaultfd.h.
const (
	uffdioUnregister   = 0x8010aa01
	uffdioWriteProtect = 0xc018aa06
)

// unprotect lets writes through, wakes who waits, and ends the supervision.
func (r memoryRange) unprotect(fd int) {
	r.mode = 0
	unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uffdioWriteProtect, uintptr(unsafe.Pointer(&r)))
	unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uffdioUnregister, uintptr(unsafe.Pointer(&r)))
}

// protected lists the mappings under userfaultfd write protection: those with
// "uw" among their flags (proc_pid_smaps(5), VmFlags).
func (p *process) protected() ([]memoryRange, error) {
	b, err := p.proc("smaps")
	if err != nil {
		return nil, err
	}
	var found []memoryRange
	var current memoryRange
	for line := range strings.Lines(string(b)) {
		first, rest, _ := strings.Cut(line, " ")
		if low, high, ok := strings.Cut(first, "-"); ok {
			start, err1 := strconv.ParseUint(low, 16, 64)
			end, err2 := strconv.ParseUint(high, 16, 64)
			if err1 == nil && err2 == nil {
				current = memoryRange{start: start, length: end - start}
			}
		}
		if first == "VmFlags:" && strings.Contains(" "+strings.TrimSpace(rest)+" ", " uw ") {
			found = append(found, current)
		}
	}
	return found, nil
}

// answerTime is how long QEMU's main loop may take to answer before it counts
// as frozen: it, too, waits when it writes to protected memory for a device.
const answerTime = 200 * time.Millisecond

// rescue waits for the end of a migration that is to fail, lifting whatever
// write protection it leaves. The stream's reader is gone already.
func rescue(ctx context.Context, c *qmp.Client, p *process) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		soon, cancel := context.WithTimeout(ctx, answerTime)
		m, err := qmp.Run(soon, c, qmp.QueryMigrate{})
		cancel()
		if err == nil && !m.Under() {
			return p.thaw()
		}
		if err := p.thaw(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.Done():
			return c.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
