package topology

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a process inside one of a lab's namespaces.
type Process struct {
	PID       int
	Namespace Namespace
	Args      []string
}

func (p Process) String() string { return strings.Join(p.Args, " ") }

// Processes lists the processes inside a lab's namespaces, this one excepted.
func Processes(name string) ([]Process, error) {
	all, err := existing(name)
	if err != nil {
		return nil, err
	}
	return processesIn(all)
}

func processesIn(all []Namespace) ([]Process, error) {
	spaces := make(map[inode]Namespace)
	for _, ns := range all {
		id, err := stat(ns.Path())
		if err != nil {
			return nil, err
		}
		spaces[id] = ns
	}
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, dir := range pids {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Kernel threads and processes that are just ending have none to stat.
		id, err := stat(dir + "/ns/net")
		if err != nil {
			continue
		}
		if ns, ok := spaces[id]; ok {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
			found = append(found, Process{PID: pid, Namespace: ns, Args: args})
		}
	}
	return found, nil
}

// Kill ends the process by SIGKILL and waits until it is gone. A process that
// has ended before, or a stranger that got its number, is left alone.
func (p Process) Kill(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	// From here on fd is one process for good; is it the one that was found?
	here, err := stat(fmt.Sprintf("/proc/%d/ns/net", p.PID))
	if err != nil {
		return nil
	}
	if ns, err := stat(p.Namespace.Path()); err != nil || ns != here {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return awaitExit(ctx, fd, p.PID)
}

// awaitExit waits for a pidfd to become readable, which it does when the
// process has ended, pidfd_open(2).
func awaitExit(ctx context.Context, fd, pid int) error {
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int((50 * time.Millisecond).Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("process %d did not end after SIGKILL: %w", pid, err)
		}
	}
}
