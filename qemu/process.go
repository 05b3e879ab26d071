package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is a process that cannot be mistaken for a later one with the same
// number, because it is held by a pidfd (pidfd_open(2)).
type process struct {
	pid  int
	file *os.File
	raw  syscall.RawConn
	gone chan struct{} // closed when it has exited
}

// openProcess takes hold of a running process. release it after use.
func openProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return newProcess(pid, fd)
}

// newProcess takes over a pidfd.
func newProcess(pid, fd int) (*process, error) {
	p := &process{pid: pid, file: os.NewFile(uintptr(fd), "pidfd"), gone: make(chan struct{})}
	var err error
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	go p.watch()
	return p, nil
}

// inheritProcess takes over a pidfd that this process was started with
// (proc_pid_fdinfo(5): "Pid:").
func inheritProcess(fd int) (*process, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(info)) {
		if n, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil || pid <= 0 {
				return nil, fmt.Errorf("descriptor %d: no process behind it", fd)
			}
			return newProcess(pid, fd)
		}
	}
	return nil, fmt.Errorf("descriptor %d: not a pidfd", fd)
}

// watch waits in the runtime's poller, which costs no thread.
func (p *process) watch() {
	exited := false
	p.raw.Read(func(fd uintptr) bool {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(set, 0)
		exited = n > 0
		return exited
	})
	if exited {
		close(p.gone)
	}
}

// kill sends SIGKILL and waits until the process has exited, and with it its
// sockets and taps.
func (p *process) kill(ctx context.Context) error {
	var err error
	if cerr := p.raw.Control(func(fd uintptr) {
		err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0)
	}); cerr != nil {
		return cerr
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("kill process %d: sent, but it is still there: %w", p.pid, context.Cause(ctx))
	}
}

// release lets go of the process, which runs on.
func (p *process) release() { p.file.Close() }

// proc reads a file of the process's directory in /proc.
func (p *process) proc(name string) ([]byte, error) { return os.ReadFile(p.path(name)) }

func (p *process) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.pid), name)
}

// exe is the program's absolute path, also when an upgrade has replaced it.
func (p *process) exe() (string, error) {
	exe, err := os.Readlink(p.path("exe"))
	return strings.TrimSuffix(exe, " (deleted)"), err
}

// words reads a file of NUL-terminated words: cmdline, environ.
func (p *process) words(name string) ([]string, error) {
	b, err := p.proc(name)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(string(bytes.TrimSuffix(b, []byte{0})), "\x00"), nil
}

// statusField returns the words of a line of status, "Uid" for instance.
func (p *process) statusField(name string) ([]string, error) {
	b, err := p.proc("status")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(rest), nil
		}
	}
	return nil, fmt.Errorf("%s: no %s", p.path("status"), name)
}

// effectiveIDs are the user and group that the process acts as.
func (p *process) effectiveIDs() (uid, gid int, err error) {
	for _, f := range []struct {
		name string
		id   *int
	}{{"Uid", &uid}, {"Gid", &gid}} {
		words, err := p.statusField(f.name) // real, effective, saved, fs
		if err != nil {
			return 0, 0, err
		}
		if len(words) < 2 {
			return 0, 0, fmt.Errorf("%s: short %s line", p.path("status"), f.name)
		}
		if *f.id, err = strconv.Atoi(words[1]); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p.path("status"), err)
		}
	}
	return uid, gid, nil
}

// taps maps descriptors on /dev/net/tun to the interfaces that they drive
// (proc_pid_fdinfo(5): "iff:").
func (p *process) taps() (map[int]string, error) {
	entries, err := os.ReadDir(p.path("fdinfo"))
	if err != nil {
		return nil, err
	}
	taps := map[int]string{}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := p.proc(filepath.Join("fdinfo", e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "iff:"); ok {
				taps[fd] = strings.TrimSpace(name)
			}
		}
	}
	return taps, nil
}

// threads lists the process's thread ids.
func (p *process) threads() map[string]bool {
	entries, _ := os.ReadDir(p.path("task"))
	ids := make(map[string]bool, len(entries))
	for _, e := range entries {
		ids[e.Name()] = true
	}
	return ids
}
