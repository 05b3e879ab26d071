package doctor

import (
	"context"

	"github.com/snapline/snapline"
)

func hypervisor(ctx context.Context, s System, _ Options) []snapline.Finding {
	q, err := s.TryQEMU(ctx)
	if err != nil {
		return warning("install it (Debian: apt install qemu-system-x86), or ignore this if your VMs run a program of another name", "no QEMU can be started: %v", err)
	}
	found := ok("QEMU %s", q.Version)
	switch {
	case q.Background != nil:
		found = append(found, warning("upgrade to QEMU 6.0 or later; see userfaultfd", "it cannot snapshot a running VM, which is stopped and copied instead: %v", q.Background)...)
	case q.Thaw != nil:
		found = append(found, warning("run the agent with CAP_SYS_PTRACE; sysctl kernel.yama.ptrace_scope must be below 3", "a broken-off snapshot of a running VM could not be undone, so VMs are stopped and copied instead: %v", q.Thaw)...)
	default:
		found = append(found, ok("it snapshots running VMs")...)
	}
	switch {
	case q.AccelErr != nil:
		found = append(found, warning("", "its accelerator cannot be tried: %v", q.AccelErr)...)
	case q.Accel == "tcg":
		found = append(found, warning("enable virtualisation in the firmware and load kvm_intel or kvm_amd; in a VM, nested virtualisation", "guests run by emulation: KVM is missing, or hangs")...)
	default:
		found = append(found, ok("guests run by %s", q.Accel)...)
	}
	return found
}

func bridges(_ context.Context, s System, _ Options) []snapline.Finding {
	all, err := s.Bridges()
	if err != nil {
		return problem("", "the bridges cannot be listed: %v", err)
	}
	var found []snapline.Finding
	for _, b := range all {
		switch {
		case !b.Up:
			found = append(found, warning("ip link set "+b.Name+" up", "%s is down", b.Name)...)
		case b.Others == 0:
			found = append(found, warning("fine for a group that lives on this host; otherwise make the uplink a port of it: ip link set DEV master "+b.Name, "%s has no port that leads out of this host", b.Name)...)
		default:
			found = append(found, ok("%s, %d taps", b.Name, b.Taps)...)
		}
	}
	if found == nil {
		return warning("ip link add br0 type bridge, and give your VMs taps on it; restored VMs are put on a bridge of the name that they had, or as --bridge says", "there is no Linux bridge in this network namespace")
	}
	return found
}
