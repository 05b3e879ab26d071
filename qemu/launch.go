package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"golang.org/x/sys/unix"
)

// started is a QEMU of ours that is not a VM yet.
type started struct {
	hypervisor *Hypervisor
	proc       *process
	exited     chan struct{} // closed when it was reaped
	socket     string
	log        *logFile
	taps       []string // names, not up yet
	keeper     *keeper  // ends it when we die
}

// firstTap is the first descriptor that a new QEMU gets a tap on.
const firstTap = 3

// launch starts the machine, paused and waiting for its state.
func (h *Hypervisor) launch(ctx context.Context, m snapline.Member, socket string, info snapline.VMInfo, moved map[string]string) (*started, error) {
	program, err := findProgram(info.Exec)
	if err != nil {
		return nil, err
	}
	if err := h.removeDeadSocket(ctx, socket); err != nil {
		return nil, err
	}
	taps, err := h.makeTaps(m, info)
	if err != nil {
		return nil, err
	}
	defer closeTaps(taps) // QEMU has duplicates
	files, numbers := map[int]int{}, make([][]int, len(taps))
	next := firstTap
	for i, t := range taps {
		for _, q := range t.queues {
			fd, err := control(q)
			if err != nil {
				return nil, err
			}
			files[next] = int(fd)
			numbers[i] = append(numbers[i], next)
			next++
		}
	}
	to := target(info, socket, numbers)
	to.Disks = moved
	args, err := cmdline.Rewrite(info.Args, to)
	if err != nil {
		return nil, err
	}
	log, err := openLog(h.logPath(m, socket))
	if err != nil {
		return nil, err
	}
	defer log.file.Close()
	files[1], files[2] = int(log.file.Fd()), int(log.file.Fd())
	s := spawn{Args: append([]string{program}, args...), Env: info.Env, Dir: info.Dir, Files: files}
	if s.Credential, err = credential(info); err != nil {
		return nil, err
	}
	started, err := h.run(s, socket, log)
	if err != nil {
		return nil, err
	}
	for _, t := range taps {
		started.taps = append(started.taps, t.name)
	}
	if started.keeper, err = started.keep(ctx); err != nil {
		return nil, errors.Join(err, started.discard())
	}
	return started, nil
}

// target says what the machine's command line must become here.
func target(info snapline.VMInfo, socket string, taps [][]int) cmdline.Target {
	t := cmdline.Target{
		Machine: info.Machine, Accel: info.Accel, Taps: taps,
		MACs: map[string]string{}, QMP: socket, Dir: info.Dir,
	}
	for _, n := range info.NICs {
		t.MACs[n.ID] = n.MAC
	}
	return t
}

// run starts the process in the host's namespace and reaps it one day.
func (h *Hypervisor) run(s spawn, socket string, log *logFile) (*started, error) {
	var child *os.Process
	err := h.ns.do(func() (err error) {
		child, err = s.start()
		return err
	})
	if err != nil {
		return nil, err
	}
	proc, err := openProcess(child.Pid) // before it can be reaped
	exited := make(chan struct{})
	go func() {
		child.Wait()
		close(exited)
	}()
	if err != nil {
		child.Kill()
		return nil, err
	}
	return &started{hypervisor: h, proc: proc, exited: exited, socket: socket, log: log}, nil
}

// connect waits for the monitor of the process that was started, and attaches.
func (s *started) connect(ctx context.Context, name snapline.MemberName, path string) (*VM, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			vm, err := s.hypervisor.attach(ctx, name, path)
			if err == nil && vm.proc.pid != s.proc.pid {
				vm.Close()
				return nil, fmt.Errorf("QMP socket %s was taken by process %d meanwhile", path, vm.proc.pid)
			}
			if !errors.Is(err, unix.ECONNREFUSED) { // bound, not listening yet
				return vm, err
			}
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return nil, errors.New("QEMU ended at once")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// findProgram is the captured program, or the one of the same name in PATH.
func findProgram(captured string) (string, error) {
	if st, err := os.Stat(captured); err == nil && st.Mode()&0o111 != 0 && !st.IsDir() {
		return captured, nil
	}
	path, err := exec.LookPath(filepath.Base(captured))
	if err != nil {
		return "", fmt.Errorf("program %s: not here, and no %s in PATH: install it", captured, filepath.Base(captured))
	}
	return path, nil
}

// checkFree wants nobody of this host to listen where the monitor is to be. Hosts
// that are network namespaces share a file system: what another host's machine
// has under the same name is not in the way, and need not be alive to be stopped.
func (h *Hypervisor) checkFree(ctx context.Context, path string) error {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil
	}
	defer conn.Close()
	cred, err := peerCredentials(conn)
	if err != nil {
		return fmt.Errorf("QMP socket %s is in use: %w", path, err)
	}
	if here, err := h.ns.holds(int(cred.Pid)); err == nil && !here {
		return nil
	}
	return fmt.Errorf("QMP socket %s is in use by process %d: stop it first", path, cred.Pid)
}

// removeDeadSocket makes way for QEMU's own, unless somebody listens there.
func (h *Hypervisor) removeDeadSocket(ctx context.Context, path string) error {
	if err := h.checkFree(ctx, path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("QMP socket: %w", err)
	}
	return nil
}

// credential is the user that the machine ran as, with all of its groups; nil
// when that is who we are, or when QEMU changes over by itself (-runas).
func credential(info snapline.VMInfo) (*syscall.Credential, error) {
	_, runas := cmdline.Last(cmdline.Parse(info.Args), "runas")
	if runas || info.UID == os.Geteuid() && info.GID == os.Getegid() {
		return nil, nil
	}
	c := &syscall.Credential{Uid: uint32(info.UID), Gid: uint32(info.GID)}
	u, err := user.LookupId(strconv.Itoa(info.UID))
	if err != nil {
		return c, nil // a number without a name has no further groups
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	for _, g := range groups {
		if id, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(id))
		}
	}
	return c, nil
}

// logFile is where a QEMU's output goes, and where this one's begins.
type logFile struct {
	path  string
	file  *os.File
	start int64
}

func (h *Hypervisor) logPath(m snapline.Member, socket string) string {
	if h.opts.LogDir == "" {
		return socket + ".log"
	}
	return filepath.Join(h.opts.LogDir, string(m.Name)+".log")
}

func openLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	start, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("log: %w", err)
	}
	return &logFile{path, f, start}, nil
}

// tail is the end of what this QEMU has printed, on one line.
func (l *logFile) tail() string {
	const most = 1000
	f, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	end, _ := f.Seek(0, io.SeekEnd)
	text := make([]byte, min(most, max(0, end-l.start)))
	n, _ := f.ReadAt(text, end-int64(len(text)))
	lines := strings.FieldsFunc(string(text[:n]), func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, " | ")
}
