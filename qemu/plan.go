package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
)

// plan collects reasons against starting one machine here.
type plan struct {
	h       *Hypervisor
	member  snapline.Member
	info    snapline.VMInfo
	disks   []snapline.DiskSnapshot
	opts    []cmdline.Option
	reasons []snapline.Reason
}

// Plan checks everything that can be known before Load, all at once.
func (h *Hypervisor) Plan(ctx context.Context, m snapline.Member, info snapline.VMInfo, disks []snapline.DiskSnapshot) []snapline.Reason {
	p := &plan{h: h, member: m, info: info, disks: disks, opts: cmdline.Parse(info.Args)}
	path, err := socketPath(m)
	if err != nil {
		p.refuse("", "%v", err)
		return p.reasons
	}
	if info.Hypervisor != "qemu" {
		p.refuse("", "it was captured from %q, this host runs qemu", info.Hypervisor)
		return p.reasons
	}
	program, err := findProgram(info.Exec)
	if err != nil {
		p.refuse("", "%v", err)
	} else {
		p.checkProgram(ctx, program)
	}
	p.checkSocket(ctx, path)
	p.checkBridges()
	p.checkFiles(path)
	p.checkDisks(ctx, path)
	p.checkMemory(ctx, path)
	p.checkUser()
	for _, why := range cmdline.Unrepeatable(info.Args) {
		p.refuse("", "%s", why)
	}
	return p.reasons
}

func (p *plan) refuse(hint, format string, args ...any) {
	p.reasons = append(p.reasons, snapline.Reason{Member: p.member.Name, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// checkSocket refuses a monitor path that another program serves; the member's
// own old instance will be stopped before the load, by whichever host it is on.
// A stranger's QEMU of another host at this path is found by Load.
func (p *plan) checkSocket(ctx context.Context, path string) {
	conn, err := dial(ctx, path)
	if err != nil {
		return // nobody listens
	}
	defer conn.Close()
	proc, err := p.h.peer(conn, path)
	if errors.Is(err, errElsewhere) {
		return
	}
	if err != nil {
		p.refuse("stop that process, or give the member another path", "the monitor's path is taken: %v", err)
		return
	}
	proc.release()
}

// checkBridges looks for each tap's bridge.
func (p *plan) checkBridges() {
	wanted := wantedTaps(p.info)
	if len(wanted) == 0 {
		return
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		p.refuse("modprobe tun", "no taps can be made: %v", err)
	}
	handle, err := p.h.ns.netlink()
	if err != nil {
		p.refuse("", "%v", err)
		return
	}
	defer handle.Close()
	for _, w := range wanted {
		if w.bridge == "" {
			continue
		}
		name := p.h.bridge(w.bridge)
		link, err := handle.LinkByName(name)
		switch {
		case err != nil:
			p.refuse(fmt.Sprintf("create it, or map it to another: --bridge %s=NAME", w.bridge), "no bridge %s for network back end %s", name, w.id)
		case link.Type() != "bridge":
			p.refuse(fmt.Sprintf("map it to a bridge: --bridge %s=NAME", w.bridge), "interface %s for network back end %s is a %s, not a bridge", name, w.id, link.Type())
		}
	}
}

// checkFiles looks for what the command line reads, and for the directories of
// what it makes. Disks that were captured come out of the repository.
func (p *plan) checkFiles(socket string) {
	if st, err := os.Stat(p.info.Dir); err != nil || !st.IsDir() {
		p.refuse("create it", "no working directory %s", p.info.Dir)
	}
	for _, f := range cmdline.Inputs(p.opts, p.info.Dir) {
		if _, err := os.Stat(f.Path); err != nil && !p.captured(f.Path) {
			p.refuse("copy it to this host", "no file %s (-%s)", f.Path, f.Option)
		}
	}
	made := append(cmdline.Outputs(p.opts, p.info.Dir), cmdline.File{Path: socket, Option: "qmp"})
	for _, dir := range cmdline.Dirs(made) {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			p.refuse("create it", "no directory %s", dir)
		}
	}
}

// checkMemory compares the guest's RAM with what is free here, counting what
// the member's old instance will give back.
func (p *plan) checkMemory(ctx context.Context, path string) {
	free, err := availableMemory()
	if err != nil {
		p.refuse("", "%v", err)
		return
	}
	old, err := p.h.instances(ctx, path)
	if err != nil {
		p.refuse("", "%v", err)
	}
	for _, proc := range old {
		free += proc.residentMemory()
		proc.release()
	}
	if free < p.info.RAMBytes {
		p.refuse("free some, or place it elsewhere", "%d MiB of memory are available, it has %d MiB", free>>20, p.info.RAMBytes>>20)
	}
}

func (p *plan) checkUser() {
	if c, err := credential(p.info); err != nil {
		p.refuse("", "%v", err)
	} else if c != nil && os.Geteuid() != 0 {
		p.refuse("run the agent as root", "it ran as user %d, and only root can start it so", p.info.UID)
	}
}

// checkProgram asks the local QEMU what it can be.
func (p *plan) checkProgram(ctx context.Context, program string) {
	for _, check := range []func(context.Context, string) error{p.checkVersion, p.checkMachine, p.checkAccel, p.checkCPU} {
		if err := check(ctx, program); err != nil {
			p.refuse("", "%v", err)
		}
	}
}

// checkVersion refuses an older QEMU: streams are understood by newer ones only.
func (p *plan) checkVersion(ctx context.Context, program string) error {
	captured, err := parseVersion(p.info.Version)
	if err != nil {
		return err
	}
	here, err := programVersion(ctx, program)
	if err != nil {
		return err
	}
	if !here.AtLeast(captured.Major, captured.Minor) {
		p.refuse("install that version or a newer one", "QEMU here is %s, it was captured from %s", here, captured)
	}
	return nil
}

func (p *plan) checkMachine(ctx context.Context, program string) error {
	text, err := ask(ctx, program, "-machine", "help")
	if err == nil && !lists(text, p.info.Machine) {
		p.refuse("install the QEMU that it was captured from", "%s does not know the machine type %s", program, p.info.Machine)
	}
	return err
}

// checkAccel refuses a change of accelerator: their device and CPU states are
// not the same.
func (p *plan) checkAccel(ctx context.Context, program string) error {
	text, err := ask(ctx, program, "-accel", "help")
	if err != nil {
		return err
	}
	if !lists(text, p.info.Accel) {
		p.refuse("", "%s has no accelerator %s", program, p.info.Accel)
		return nil
	}
	if p.info.Accel != "kvm" {
		return nil
	}
	best, err := p.h.accel(ctx, program)
	if err == nil && best != "kvm" {
		p.refuse("place it on a host where KVM works", "it was captured under kvm, and no guest runs under kvm here")
	}
	return err
}

func (p *plan) checkCPU(ctx context.Context, program string) error {
	model, ok := cmdline.Last(p.opts, "cpu")
	model, _, _ = strings.Cut(model, ",")
	if !ok || model == "host" || model == "max" || model == "" {
		return nil
	}
	text, err := ask(ctx, program, "-cpu", "help")
	if err == nil && !lists(text, model) {
		p.refuse("install the QEMU that it was captured from", "%s does not know the CPU model %s", program, model)
	}
	return err
}
