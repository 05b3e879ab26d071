package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// Adopt attaches to the QEMU that listens on the member's QMP socket. It holds
// the monitor until the VM is closed: a QMP socket serves one client.
func (h *Hypervisor) Adopt(ctx context.Context, m snapline.Member) (snapline.VM, error) {
	path, err := socketPath(m)
	if err != nil {
		return nil, err
	}
	vm, err := h.attach(ctx, m.Name, path)
	if errors.Is(err, snapline.ErrNoVM) {
		err = h.unlessItLives(ctx, path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("adopt vm %s: %w", m.Name, err)
	}
	return vm, nil
}

// unlessItLives returns the error that says that there is no VM, unless one lives
// whose socket somebody has removed: a directory was cleaned, a link was moved.
// Whoever took that for gone would restore it.
func (h *Hypervisor) unlessItLives(ctx context.Context, path string, gone error) error {
	found, err := h.instances(ctx, path)
	for _, p := range found {
		defer p.release()
	}
	switch {
	case len(found) > 0:
		return fmt.Errorf("process %d was started with QMP socket %s and lives, but the socket is gone: shut its guest down and start it again", found[0].pid, path)
	case err != nil:
		return fmt.Errorf("QMP socket %s is gone, and whether its VM is, too, cannot be found out: %w", path, err)
	}
	return gone
}

// attach connects, identifies the process and describes the machine.
func (h *Hypervisor) attach(ctx context.Context, name snapline.MemberName, path string) (*VM, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	proc, err := h.peer(conn, path)
	if err != nil {
		conn.Close()
		return nil, err
	}
	client, err := negotiate(ctx, conn, path, proc)
	if err != nil {
		proc.release()
		return nil, err
	}
	vm := newVM(h, name, client, proc)
	if vm.info, err = describe(ctx, h.ns, client, proc); err != nil {
		vm.Close()
		return nil, err
	}
	vm.recoverDisks(ctx)
	return vm, nil
}

// frozenTime is how long QEMU's main loop may take for the negotiation and for
// the end of a migration whose reader has died. It is longer than the wait for
// a greeting, so that which of the two has ended does not depend on chance.
const frozenTime = qmp.GreetingWait + time.Second

// negotiate opens the monitor, and frees a guest that was left frozen when an
// earlier agent and its guard were killed together in the middle of a capture.
func negotiate(ctx context.Context, conn *net.UnixConn, path string, p *process) (*qmp.Client, error) {
	soon, cancel := context.WithTimeout(ctx, frozenTime)
	defer cancel()
	client, err := qmp.New(soon, conn, path)
	var busy *qmp.BusyError
	silent := errors.As(err, &busy) && p.waitsForMemory() // not busy with somebody else
	if silent || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if err := p.thaw(); err != nil {
			return nil, err
		}
		again, dialErr := dial(ctx, path)
		if dialErr != nil {
			return nil, dialErr
		}
		client, err = qmp.New(ctx, again, path)
	}
	if err != nil {
		return nil, err
	}
	if fds, err := p.userfaults(); err != nil || len(fds) == 0 {
		return client, nil
	}
	if err := thawIdle(ctx, client, p); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// thawIdle lifts a write protection that belongs to no migration under way.
func thawIdle(ctx context.Context, c *qmp.Client, p *process) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(frozenTime)
	for {
		m, err := qmp.Run(ctx, c, qmp.QueryMigrate{})
		if err != nil {
			return err
		}
		if !m.Under() {
			return p.thaw()
		}
		select {
		case <-tick.C:
		case <-late: // somebody's, and alive
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// socketPath is the member's QMP socket, if it can be one.
func socketPath(m snapline.Member) (string, error) {
	switch {
	case m.QEMU == nil || m.QEMU.QMP == "":
		return "", fmt.Errorf("vm %s: no QMP socket given", m.Name)
	case !filepath.IsAbs(m.QEMU.QMP):
		return "", fmt.Errorf("vm %s: QMP socket %q: give an absolute path", m.Name, m.QEMU.QMP)
	}
	return filepath.Clean(m.QEMU.QMP), nil
}

// dial connects to a monitor's socket and explains what is wrong if it cannot.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	conn, err := dialPatiently(ctx, path)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, unix.EAGAIN) {
		return nil, &qmp.BusyError{Path: path}
	}
	switch st, statErr := os.Stat(path); {
	case errors.Is(statErr, os.ErrNotExist):
		return nil, fmt.Errorf("QMP socket %s does not exist: %w, or not with -qmp unix:%s,server=on,wait=off", path, snapline.ErrNoVM, path)
	case statErr == nil && st.Mode()&os.ModeSocket == 0:
		return nil, fmt.Errorf("QMP socket %s is not a socket", path)
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("QMP socket %s is dead, nobody listens: %w (%w)", path, snapline.ErrNoVM, err)
	}
	return nil, fmt.Errorf("QMP socket %s: %w", path, err)
}

// dialPatiently waits for room in the queue of a monitor that serves another
// client: QEMU queues one connection, be it one that has been given up.
func dialPatiently(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	late := time.After(qmp.GreetingWait)
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// errElsewhere says that a process is not one of this host.
var errElsewhere = errors.New("belongs to another network namespace, and so to another host")

// peer takes hold of the process behind a monitor, if it is a QEMU of this
// host.
func (h *Hypervisor) peer(conn *net.UnixConn, path string) (*process, error) {
	cred, err := peerCredentials(conn)
	if err != nil {
		return nil, fmt.Errorf("QMP socket %s: peer credentials: %w", path, err)
	}
	if cred.Pid <= 0 {
		return nil, fmt.Errorf("QMP socket %s: its process is not visible from here: it belongs to another PID namespace (a container?)", path)
	}
	here, err := h.ns.holds(int(cred.Pid))
	if err != nil {
		return nil, fmt.Errorf("QMP socket %s: %w", path, err)
	}
	if !here {
		return nil, fmt.Errorf("QMP socket %s: process %d %w", path, cred.Pid, errElsewhere)
	}
	proc, err := openProcess(int(cred.Pid))
	if err != nil {
		return nil, fmt.Errorf("QMP socket %s: %w", path, err)
	}
	exe, err := proc.exe()
	if err == nil && !looksLikeQEMU(exe) {
		err = fmt.Errorf("process %d that listens is %s, not a QEMU: let QEMU make the socket itself", proc.pid, exe)
	}
	if err != nil {
		proc.release()
		return nil, fmt.Errorf("QMP socket %s: %w", path, err)
	}
	return proc, nil
}

// looksLikeQEMU judges a program by its name; builds are called
// qemu-system-ARCH (also with something around it), qemu-kvm or kvm.
func looksLikeQEMU(exe string) bool {
	name := filepath.Base(exe)
	return strings.Contains(name, "qemu-system") || strings.Contains(name, "qemu-kvm") || name == "kvm"
}

func peerCredentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, credErr
}
