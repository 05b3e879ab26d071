package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"golang.org/x/sys/unix"
)

// Stop finds the member's QEMU by who listens on the QMP socket, and by the
// command lines of all processes of this host: the socket of a hung or half-
// dead QEMU tells nothing.
func (h *Hypervisor) Stop(ctx context.Context, m snapline.Member, macs []string) error {
	path, err := socketPath(m)
	if err != nil {
		return err
	}
	found, err := h.instances(ctx, path)
	for _, p := range found {
		is, wordsErr := macs == nil, error(nil)
		if !is {
			is, wordsErr = p.hasMAC(macs)
		}
		if is {
			err = errors.Join(err, p.kill(ctx))
		}
		err = errors.Join(err, notGone(wordsErr))
		p.release()
	}
	if err != nil {
		return fmt.Errorf("stop vm %s: %w", m.Name, err)
	}
	// What a capture had left of its disks could wait for the next agent. What cannot
	// be merged stays in its journal, and says so when the disks are wanted again.
	_ = h.disks.RecoverStopped(ctx, path)
	return nil
}

// instances takes hold of every QEMU of this host with that monitor.
func (h *Hypervisor) instances(ctx context.Context, path string) ([]*process, error) {
	var found []*process
	if conn, err := dial(ctx, path); err == nil {
		p, err := h.peer(conn, path)
		conn.Close()
		if err == nil {
			found = append(found, p)
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || len(found) > 0 && found[0].pid == pid {
			continue
		}
		p, err := h.instance(pid, path)
		if err != nil {
			return found, err
		}
		if p != nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// instance takes hold of a process if it is a QEMU of this host whose command
// line makes that monitor; nil if not.
func (h *Hypervisor) instance(pid int, path string) (*process, error) {
	p, err := openProcess(pid)
	if err != nil {
		return nil, notGone(err)
	}
	if ok, err := h.isInstance(p, path); !ok || err != nil {
		p.release()
		return nil, notGone(err)
	}
	return p, nil
}

func (h *Hypervisor) isInstance(p *process, path string) (bool, error) {
	if ok, err := p.serves(path); !ok || err != nil {
		return false, err
	}
	return h.ns.holds(p.pid)
}

// serves reports whether it is a QEMU, of whatever host, whose command line
// makes a monitor at the path.
func (p *process) serves(path string) (bool, error) {
	exe, err := p.exe()
	if err != nil || !looksLikeQEMU(exe) {
		return false, nil // a kernel thread, or one that we may not look into
	}
	args, err := p.words("cmdline")
	if err != nil || len(args) == 0 {
		return false, err
	}
	dir, err := os.Readlink(p.path("cwd"))
	return err == nil && cmdline.HasQMP(cmdline.Parse(args[1:]), dir, path), err
}

// hasMAC reports whether a QEMU was started with one of the addresses.
func (p *process) hasMAC(macs []string) (bool, error) {
	args, err := p.words("cmdline")
	if err != nil || len(args) == 0 {
		return false, err
	}
	opts := cmdline.Parse(args[1:])
	return slices.ContainsFunc(macs, func(mac string) bool { return cmdline.HasMAC(opts, mac) }), nil
}

// notGone drops errors that only say that the process has ended meanwhile.
func notGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
