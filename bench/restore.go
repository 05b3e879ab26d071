package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// restoreSample is one start of the machine from its stored state.
type restoreSample struct {
	WallMS float64 `json:"wall_ms"` // from nothing to a guest that runs
	CPUMS  float64 `json:"cpu_ms"`  // of QEMU, and of who reads the repository
}

// Ways to restore.
const (
	fromRepository = "snapline, from the repository"
	loadFile       = "snapline, from a plain file"
	fromFile       = "qemu -incoming, from a plain file"
)

// restore starts one machine again and again, from a repository and from an
// unpacked file. Both are in the page cache.
type restore struct {
	guest  *guest
	folder string // of the repository
	id     snapline.SnapshotID
	file   string
}

func (r *restore) measure(ctx context.Context, runs int) (map[string][]restoreSample, error) {
	ways := []struct {
		name string
		run  func(context.Context) (restoreSample, error)
	}{{fromRepository, r.fromRepository}, {loadFile, r.loadFile}, {fromFile, r.fromFile}}
	all := map[string][]restoreSample{}
	for run := range runs {
		for _, w := range ways {
			unix.Sync()
			got, err := w.run(ctx)
			if err == nil {
				err = r.guest.lab.KillVM(ctx, member)
			}
			if err != nil {
				return nil, fmt.Errorf("restore by %s: %w", w.name, err)
			}
			say("  %d/%d %-34s %6.0f ms, %6.0f ms of processor", run+1, runs, w.name, got.WallMS, got.CPUMS)
			all[w.name] = append(all[w.name], got)
		}
	}
	return all, nil
}

// fromRepository is what an agent does, which has the repository open but
// nothing of this snapshot in its memory.
func (r *restore) fromRepository(ctx context.Context) (got restoreSample, err error) {
	repo, err := openRepository(ctx, r.folder)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	return r.load(ctx, func() (io.ReadCloser, error) {
		o, err := stored(ctx, repo, r.id)
		if err != nil {
			return nil, err
		}
		return repo.Open(ctx, r.id, member, o)
	})
}

// loadFile is the same without the repository: what the start itself takes.
func (r *restore) loadFile(ctx context.Context) (restoreSample, error) {
	return r.load(ctx, func() (io.ReadCloser, error) { return os.Open(r.file) })
}

// load starts the machine as an agent does.
func (r *restore) load(ctx context.Context, open func() (io.ReadCloser, error)) (got restoreSample, err error) {
	before, err := ownCPU()
	if err != nil {
		return got, err
	}
	began := time.Now()
	s, err := open()
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	vm, err := r.guest.hypervisor.Load(ctx, r.guest.member, r.guest.info, s, nil)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	if err := vm.Resume(ctx); err != nil {
		return got, err
	}
	got.WallMS = ms(time.Since(began))
	pid, err := r.guest.lab.VMPid(member)
	if err != nil {
		return got, err
	}
	after, err := ownCPU()
	if err != nil {
		return got, err
	}
	theirs, err := cpuOf(pid)
	got.CPUMS = ms(after - before + theirs)
	return got, err
}

// fromFile is the way of QEMU's own documentation: the same command line, with
// -incoming.
func (r *restore) fromFile(ctx context.Context) (got restoreSample, err error) {
	info := r.guest.info
	vm := r.guest.lab.VMs()[0]
	if err := os.Remove(vm.QMP); err != nil && !errors.Is(err, os.ErrNotExist) {
		return got, err
	}
	place := string(r.guest.lab.Place(vm.Host))
	args := append([]string{"netns", "exec", place, info.Exec}, info.Args...)
	cmd := exec.CommandContext(ctx, "ip", append(args, "-incoming", "exec:cat "+r.file)...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.Dir = &said, &said, info.Dir
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return got, err
	}
	ended := make(chan struct{})
	defer func() {
		if err != nil && said.Len() > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
		}
	}()
	defer func() { // ip has become QEMU
		cmd.Process.Kill()
		<-ended
	}()
	running, giveUp := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
		giveUp()
	}()
	if err := awaitRunning(running, vm.QMP); err != nil {
		return got, err
	}
	got.WallMS = ms(time.Since(began))
	theirs, err := cpuOf(cmd.Process.Pid)
	got.CPUMS = ms(theirs)
	return got, err
}

// awaitRunning waits until the machine that listens there runs.
func awaitRunning(ctx context.Context, path string) error {
	c, err := dialWhenThere(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	events := c.Subscribe()
	defer events.Close()
	for {
		st, err := qmp.Run(ctx, c, qmp.QueryStatus{})
		if err != nil || st.Status == "running" {
			return err
		}
		if _, err := events.Next(ctx); err != nil {
			return err
		}
	}
}

func dialWhenThere(ctx context.Context, path string) (*qmp.Client, error) {
	for {
		c, err := qmp.Dial(ctx, path)
		if err == nil || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			return c, err
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// ownCPU is the processor time of this process.
func ownCPU() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// cpuOf is the processor time of a process, and of its children that have ended.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

// userHZ is the unit of times in /proc, fixed on x86 (proc_pid_stat(5)).
const userHZ = 100

// parseStat adds utime, stime, cutime and cstime of /proc/PID/stat. The
// program's name before them may hold anything, blanks and parentheses too.
func parseStat(s string) (time.Duration, error) {
	_, rest, ok := cutLast(s, ")")
	var skip string
	var u, k, cu, ck int64
	if !ok {
		return 0, errors.New("/proc/PID/stat: no name in it")
	}
	// state, ppid, …, cmajflt, then the times
	if _, err := fmt.Sscan(rest, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &u, &k, &cu, &ck); err != nil {
		return 0, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	return time.Duration(u+k+cu+ck) * (time.Second / userHZ), nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
