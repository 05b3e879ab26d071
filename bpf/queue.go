package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNobodyReads is a tap of which it is not known who reads it.
var errNobodyReads = errors.New("it is not known which process reads the tap")

// queues are a tap's queues, as the hypervisor has them open: to see whether
// frames wait there. They are never read here.
type queues []unix.PollFd

// openQueues opens, a second time, what a process has open of a tap
// (pidfd_getfd(2); proc_pid_fdinfo(5): "iff:"). It needs the right to trace the
// process. The taps are those of the calling thread's network namespace.
func openQueues(reader int, tap string) (queues, error) {
	if reader == 0 {
		return nil, errNobodyReads
	}
	process, err := unix.PidfdOpen(reader, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", reader, err)
	}
	defer unix.Close(process)
	all, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(reader), "fdinfo"))
	if err != nil {
		return nil, err
	}
	var q queues
	for _, e := range all {
		n, err := strconv.Atoi(e.Name())
		if err != nil || tapOf(reader, n) != tap {
			continue
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			q.close()
			return nil, fmt.Errorf("descriptor %d of process %d: %w", n, reader, err)
		}
		q = append(q, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	if len(q) == 0 {
		return nil, errNobodyReads
	}
	return q, nil
}

// tapOf is the interface that a process's descriptor drives, "" if none.
func tapOf(pid, fd int) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return "" // closed meanwhile
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "iff:"); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// empty reports whether no frame waits in any of them, this moment.
func (q queues) empty() (bool, error) {
	for {
		n, err := unix.Poll(q, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n == 0, err // also not when one has been closed
	}
}

func (q queues) close() {
	for _, one := range q {
		unix.Close(int(one.Fd))
	}
}
