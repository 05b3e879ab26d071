package gentle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a worker that runs.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.Reader
	said   bytes.Buffer // on its standard error
	exited chan error   // gets how it ended
}

var _ worker = (*process)(nil)

// start starts a worker. It ends with ctx, or with this process.
func start(ctx context.Context, command, env []string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, command[0], command[1:]...), exited: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// Not StdoutPipe, which Wait closes before all was read.
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.out = theirs, out
	started := make(chan error, 1)
	go func() {
		// The death signal comes at the end of the thread that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		theirs.Close()
		started <- err
		if err == nil {
			p.exited <- p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		out.Close()
		p.in.Close()
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return p, nil
}

// end waits for the worker's end and says how it was.
func (p *process) end() error {
	err := <-p.exited
	if c, ok := p.out.(io.Closer); ok {
		c.Close()
	}
	return err
}

func (p *process) stop() error  { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) cont() error  { return p.cmd.Process.Signal(syscall.SIGCONT) }
func (p *process) hurry() error { return hasten(p.cmd.Process.Pid) }

// used reads the process's clock: clock_getcpuclockid(3) makes its name of the
// pid.
func (p *process) used() (time.Duration, error) {
	const cpuClockSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|cpuClockSched), &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}
