package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/lab/topology"
)

// identity names one process for good: a pid is used again, a pid with its
// start time is not (proc(5), stat field 22).
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// identify returns a living process's identity.
func identify(pid int) (identity, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, err
	}
	// The name, in parentheses, may hold anything; the fields come after it.
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return identity{}, fmt.Errorf("process %d has ended", pid)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return identity{pid, start}, nil
}

func (i identity) alive() bool {
	now, err := identify(i.PID)
	return err == nil && now == i
}

// kill ends the process by SIGKILL and waits until it is gone; a process that
// has ended is fine.
func (i identity) kill(ctx context.Context) error {
	fd, err := unix.PidfdOpen(i.PID, 0)
	if err != nil || !i.alive() {
		if err == nil {
			unix.Close(fd)
		}
		return nil
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", i.PID, err)
	}
	return await(ctx, 20*time.Millisecond, func() error {
		if i.alive() {
			return fmt.Errorf("process %d has not ended", i.PID)
		}
		return nil
	})
}

// detach starts a command that outlives this process: in a session of its own,
// in a namespace, with its output in a file and env beside its own environment.
func detach(ns topology.Namespace, log string, env []string, name string, args ...string) (identity, error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return identity{}, err
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if len(env) > 0 {
		cmd.Env = append(os.Environ(), env...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := ns.Start(cmd); err != nil {
		return identity{}, err
	}
	id, err := identify(cmd.Process.Pid)
	// Reaps it, should it end before this process does.
	go cmd.Wait()
	if err != nil {
		return identity{}, fmt.Errorf("%s ended at once: %s", cmd.Args, tail(log))
	}
	return id, nil
}

// tail is the end of a log, for an error that has nothing better to say.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimSpace(data)
	if cut := len(data) - 2000; cut > 0 {
		data = data[cut:]
	}
	return fmt.Sprintf("end of %s:\n%s", path, data)
}

// await tries until it succeeds or ctx ends, and returns the last error then.
func await(ctx context.Context, every time.Duration, try func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; gave up: %w", err, ctx.Err())
		case <-tick.C:
		}
	}
}
