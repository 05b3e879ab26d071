package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/snapline/snapline/qemu/disk"
	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// The guard's descriptors, fixed by whoever starts it.
const (
	guardControl = 3 // SOCK_SEQPACKET to the process that pauses or captures
	guardMonitor = 4 // the QMP connection of that process
	guardProcess = 5 // a pidfd of the QEMU
)

// guardDisks is the environment variable with the directory of disk journals.
const guardDisks = "SNAPLINE_GUARD_DISKS"

// guardOrder is what the parent says: until when the VM may be held, in ns of
// CLOCK_BOOTTIME; 0 is the release.
type guardOrder struct{ deadline int64 }

func (o guardOrder) encode() []byte { return binary.LittleEndian.AppendUint64(nil, uint64(o.deadline)) }

// decodeOrder takes a message of another form for a deadline that has passed.
func decodeOrder(b []byte) guardOrder {
	if len(b) != 8 {
		return guardOrder{1}
	}
	return guardOrder{int64(binary.LittleEndian.Uint64(b))}
}

// What a guard says.
const (
	guardArmed = 'A' // it has taken over the deadline
	guardFired = 'F' // the deadline has passed; it lets the VM run
)

// guardLoaded is the environment variable with the QMP socket of a machine that
// has been loaded and must not outlive its parent before it has run.
const guardLoaded = "SNAPLINE_GUARD_LOADED"

// guardPatience bounds what a guard does for a VM whose parent has died.
const guardPatience = time.Minute

// Guard is the whole life of a guard process: the program named by
// Options.GuardCommand calls it, and exits. It lets a VM that is paused, being
// captured, or whose disks are being merged run freely again when its parent
// dies, or when the deadline passes that the parent has set. One that was loaded
// and has not run it ends instead. It ends without a word when the parent says
// that it is not needed any more.
func Guard() error {
	// Whoever ends the whole service means the parent; the guard must outlive it
	// by the moment that its work takes.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	proc, err := inheritProcess(guardProcess)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	defer proc.release()
	end, err := keepWatch()
	if socket := os.Getenv(guardLoaded); socket != "" {
		if end == released && err == nil {
			return nil
		}
		return errors.Join(err, endLoaded(proc, socket, end))
	}
	switch {
	case err != nil, end == parentDied:
		return errors.Join(err, freeForDeadParent(proc))
	case end == deadlinePassed:
		return freeForHungParent(proc)
	}
	return nil
}

// watchEnd is why a guard's watch is over.
type watchEnd int

const (
	released watchEnd = iota
	parentDied
	deadlinePassed
)

// keepWatch follows the parent's orders until the watch is over.
func keepWatch() (watchEnd, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	if err != nil {
		return parentDied, fmt.Errorf("guard: timer: %w", err)
	}
	defer unix.Close(timer)
	for {
		set := []unix.PollFd{{Fd: guardControl, Events: unix.POLLIN}, {Fd: int32(timer), Events: unix.POLLIN}}
		if _, err := unix.Poll(set, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return parentDied, fmt.Errorf("guard: %w", err)
		}
		if set[0].Revents == 0 {
			return deadlinePassed, nil
		}
		var buf [16]byte
		n, err := unix.Read(guardControl, buf[:])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if n <= 0 {
			return parentDied, nil
		}
		order := decodeOrder(buf[:n])
		if order.deadline == 0 {
			return released, nil
		}
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(order.deadline)}
		if err := unix.TimerfdSettime(timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
			return parentDied, fmt.Errorf("guard: timer: %w", err)
		}
		unix.Write(guardControl, []byte{guardArmed}) // if it is dead, the next read tells
	}
}

// freeForHungParent cannot converse with QEMU: the answers go to the parent, if
// it ever wakes.
func freeForHungParent(p *process) error {
	err := p.thaw()
	line := qmp.Takeover + `{"execute":"cont","id":"guard"}` + "\n"
	_, writeErr := unix.Write(guardMonitor, []byte(line))
	unix.Write(guardControl, []byte{guardFired})
	return errors.Join(err, writeErr)
}

// freeForDeadParent frees the guest without QEMU's help first: a main loop that
// waits at protected memory, to write what a device received, answers nothing,
// not even a parse error. The parent's end of a capture's stream is closed, so
// a capture under way is failing. What is left takes the connection, of which
// this is the only user.
func freeForDeadParent(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	thawed := keepThawing(p)
	file := os.NewFile(guardMonitor, "monitor")
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return errors.Join(fmt.Errorf("guard: monitor: %w", err), thawed())
	}
	client, err := qmp.TakeOver(conn.(*net.UnixConn))
	if err := errors.Join(err, thawed()); err != nil {
		return fmt.Errorf("guard: monitor: %w", err)
	}
	defer client.Close()
	err = rescue(ctx, client, p)
	if dir := os.Getenv(guardDisks); dir != "" {
		err = errors.Join(err, disk.FreeJobs(ctx, client, dir))
	}
	_, contErr := qmp.Run(ctx, client, qmp.Cont{})
	return errors.Join(err, contErr)
}
