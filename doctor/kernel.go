package doctor

import (
	"context"

	"github.com/snapline/snapline"
)

func user(_ context.Context, s System, _ Options) []snapline.Finding {
	if s.UID() != 0 {
		return problem("run it with sudo", "not root: agents run as root, and most of what follows cannot be tried")
	}
	return ok("root")
}

func kernel(_ context.Context, s System, _ Options) []snapline.Finding {
	release, err := s.Kernel()
	if err != nil {
		return problem("", "the kernel does not say its release: %v", err)
	}
	return ok("Linux %s", release)
}

func ringBuffer(_ context.Context, s System, _ Options) []snapline.Finding {
	switch err := s.TryRingBuffer(); {
	case err == nil:
		return ok("eBPF ring buffers work")
	case s.NotSupported(err):
		return problem("upgrade to Linux 5.8 or later; until then: take --cut barrier, which needs no gate", "this kernel has no eBPF ring buffers: no gate can be put up")
	default:
		return problem(forbidden, "no eBPF ring buffer can be made: %v", err)
	}
}

// forbidden is what to look at where a kernel that has something refuses it.
const forbidden = "run it as root; in a container, allow bpf(2) and CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON; see dmesg for a lockdown"

// gate tries both ways to attach it: tcx is the better one, clsact is enough.
func gate(_ context.Context, s System, _ Options) []snapline.Finding {
	tcx, clsact := s.TryGate(false), s.TryGate(true)
	switch {
	case tcx == nil && clsact == nil:
		return ok("attaches by tcx, and could by clsact")
	case tcx == nil:
		return ok("attaches by tcx (not by clsact, which is not needed)")
	case s.NotSupported(tcx) && clsact == nil:
		return ok("attaches by clsact; tcx comes with Linux 6.6")
	case s.NotSupported(tcx):
		return problem("load the modules sch_ingress and cls_bpf, or upgrade to Linux 6.6 or later; until then: take --cut barrier", "no gate can be attached: no tcx in this kernel, and by clsact: %v", clsact)
	default: // where tcx exists, it is what is used
		return problem(forbidden, "no gate can be attached by tcx: %v", tcx)
	}
}

func userfaultfd(_ context.Context, s System, _ Options) []snapline.Finding {
	if err := s.TryUserfaultfd(); err != nil {
		return warning("VMs are stopped while they are copied until there is Linux 5.7 or later with CONFIG_USERFAULTFD, and in a container a seccomp profile that allows userfaultfd(2)", "memory cannot be write-protected: %v", err)
	}
	if !s.UnprivilegedUserfaultfd() {
		return warning("if your VMs run as another user: sysctl -w vm.unprivileged_userfaultfd=1, or they are stopped while they are copied", "memory can be write-protected, but only in QEMU processes of root")
	}
	return ok("memory can be write-protected, in any user's QEMU")
}
