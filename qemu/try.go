package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// Abilities are what a QEMU program can do on this host.
type Abilities struct {
	Version string // 7.2.22
	// Background is nil when a background snapshot can be switched on: QEMU has
	// it, and the kernel's userfaultfd serves this user.
	Background error
	// Thaw is nil when this process may free a guest whose snapshot broke off.
	Thaw error
	// Accel is what guests run by: kvm or tcg; AccelErr why that is not known.
	Accel    string
	AccelErr error
}

// tryTime bounds a QEMU that is asked what it can do.
const tryTime = 10 * time.Second

// Try starts the program without any machine, asks it, and ends it. It fails
// when the program cannot be started or does not answer. Up to 13 s.
func Try(ctx context.Context, program string) (Abilities, error) {
	var a Abilities
	path, err := exec.LookPath(program)
	if err != nil {
		return a, err
	}
	limited, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	if err := tryMonitor(limited, path, &a); err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	a.Accel, a.AccelErr = ProbeAccel(ctx, path)
	return a, nil
}

func tryMonitor(ctx context.Context, path string, a *Abilities) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "monitor"), os.NewFile(uintptr(pair[1]), "monitor")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return err
	}
	cmd := exec.CommandContext(ctx, path, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none",
		"-chardev", "socket,id=monitor,fd=3", "-mon", "chardev=monitor,mode=control")
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		conn.Close()
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill() // it has nothing to lose
	client, err := qmp.New(ctx, conn.(*net.UnixConn), "of "+path)
	if err != nil {
		return err
	}
	defer client.Close()
	a.Version = client.Version().String()
	_, a.Background = qmp.Run(ctx, client, qmp.SetCapabilities{Capabilities: []qmp.Capability{{Name: capBackground, On: true}}})
	proc, err := openProcess(cmd.Process.Pid)
	if err != nil {
		return err
	}
	defer proc.release()
	a.Thaw = proc.canThaw()
	return nil
}

// TryUserfaultfd write-protects a page of this process's own memory, as a
// background snapshot does with a guest's (Linux 5.7).
func TryUserfaultfd() error {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	defer unix.Close(int(fd))
	return protectOnePage(int(fd))
}

// Bridge is a bridge of this network namespace.
type Bridge struct {
	Name string
	Up   bool
	// Taps and Others count its ports: those of virtual machines, and the rest.
	Taps, Others int
}

// Bridges lists the bridges of this process's network namespace.
func Bridges() ([]Bridge, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	at := map[int]int{}
	var all []Bridge
	for _, l := range links {
		if l.Type() == "bridge" {
			at[l.Attrs().Index] = len(all)
			all = append(all, Bridge{Name: l.Attrs().Name, Up: l.Attrs().Flags&net.FlagUp != 0})
		}
	}
	for _, l := range links {
		i, ok := at[l.Attrs().MasterIndex]
		switch {
		case !ok:
		case l.Type() == "tuntap":
			all[i].Taps++
		default:
			all[i].Others++
		}
	}
	return all, nil
}
