package bpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fenceTie is a tap with a fence's programs on it. Its methods must run in the
// tap's network namespace.
type fenceTie interface {
	port() int // index of the interface
	// attached reports whether both programs are there.
	attached() (bool, error)
	// lower takes them off. A tap that is gone is no error.
	lower() error
}

// attachFence puts the programs on every port or on none, as attach does.
func attachFence(k fenceKernel, ports []port, forceClsact bool) ([]fenceTie, error) {
	viaTCX := !forceClsact
	var ties []fenceTie
	for _, p := range ports {
		tie, err := attachFencePort(k, p.index, viaTCX)
		if viaTCX && len(ties) == 0 && errors.Is(err, ebpf.ErrNotSupported) {
			viaTCX = false
			tie, err = attachFencePort(k, p.index, viaTCX)
		}
		if err != nil {
			err = fmt.Errorf("attach to NIC %s (%s): %w", p.nic.ID, p.nic.Tap, err)
			return nil, errors.Join(err, lowerAll(ties))
		}
		ties = append(ties, tie)
	}
	return ties, nil
}

func attachFencePort(k fenceKernel, index int, viaTCX bool) (fenceTie, error) {
	if viaTCX {
		return attachFenceTCX(k, index)
	}
	return attachFenceClsact(k, index)
}

func lowerAll(ties []fenceTie) error {
	var errs []error
	for _, t := range ties {
		errs = append(errs, t.lower())
	}
	return errors.Join(errs...)
}

// fenceTCX attaches without links: a link ends with the process that holds it,
// or has to be pinned in a file system that somebody must mount and clean up. A
// program that is attached by itself stays until it is detached or the tap goes,
// which is all that a fence wants.
type fenceTCX struct {
	index int
	k     fenceKernel
}

func (t fenceTCX) sides() []fenceSide {
	return []fenceSide{{ebpf.AttachTCXIngress, t.k.out, "ingress"}, {ebpf.AttachTCXEgress, t.k.in, "egress"}}
}

type fenceSide struct {
	at      ebpf.AttachType
	program *ebpf.Program // nil when the agent was killed before it was attached
	name    string
}

func attachFenceTCX(k fenceKernel, index int) (fenceTie, error) {
	t := fenceTCX{index, k}
	for _, s := range t.sides() {
		err := link.RawAttachProgram(link.RawAttachProgramOptions{
			Target: index, Program: s.program, Attach: s.at,
			Anchor: link.Head(), // see "Where in the path" in doc.go
		})
		if errors.Is(err, unix.EINVAL) && !haveTCX(index) {
			err = fmt.Errorf("%w: %w", ebpf.ErrNotSupported, err)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tcx %s: %w", s.name, err), t.lower())
		}
	}
	return t, nil
}

// haveTCX reports whether the kernel knows tcx at all.
func haveTCX(index int) bool {
	_, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
	return err == nil
}

func (t fenceTCX) port() int { return t.index }

func (t fenceTCX) attached() (bool, error) {
	for _, s := range t.sides() {
		if s.program == nil {
			return false, nil
		}
		there, err := link.QueryPrograms(link.QueryOptions{Target: t.index, Attach: s.at})
		if isGone(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("tcx %s of interface %d: %w", s.name, t.index, err)
		}
		info, err := s.program.Info()
		if err != nil {
			return false, err
		}
		id, _ := info.ID()
		if !slices.ContainsFunc(there.Programs, func(p link.AttachedProgram) bool { return p.ID == id }) {
			return false, nil
		}
	}
	return true, nil
}

func (t fenceTCX) lower() error {
	var errs []error
	for _, s := range t.sides() {
		if s.program == nil {
			continue
		}
		err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: t.index, Program: s.program, Attach: s.at})
		if err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("tcx %s of interface %d: %w", s.name, t.index, err))
		}
	}
	return errors.Join(errs...)
}

// fenceClsact is for kernels before 6.6. tc filters outlive their process anyway.
type fenceClsact struct {
	index  int
	handle uint32
	qdisc  bool // ours
}

const (
	fenceFilterName      = "snapline-fence"
	fenceFilterNameQdisc = "snapline-fence+qdisc" // see filterNameQdisc
	// fenceHandles is where the handles of fences' filters begin; the program's
	// number makes them different.
	fenceHandles    = 0x66000000
	fenceHandleMask = 0x00ffffff
)

func attachFenceClsact(k fenceKernel, index int) (fenceTie, error) {
	info, err := k.out.Info()
	if err != nil {
		return nil, err
	}
	id, _ := info.ID()
	t := fenceClsact{index: index, handle: fenceHandles | uint32(id)&fenceHandleMask}
	err = withNetlink(func(h *netlink.Handle) error {
		switch err := h.QdiscAdd(clsactQdisc(index)); {
		case err == nil:
			t.qdisc = true
		case !errors.Is(err, unix.EEXIST):
			return fmt.Errorf("add clsact qdisc: %w", err)
		}
		name := fenceFilterName
		if t.qdisc {
			name = fenceFilterNameQdisc
		}
		for _, s := range []struct {
			parent  uint32
			program *ebpf.Program
			name    string
		}{{netlink.HANDLE_MIN_INGRESS, k.out, "ingress"}, {netlink.HANDLE_MIN_EGRESS, k.in, "egress"}} {
			f := t.filter(s.parent)
			f.Fd, f.Name, f.DirectAction = s.program.FD(), name, true
			if err := h.FilterAdd(f); err != nil {
				return fmt.Errorf("add %s filter: %w%s", s.name, err, inTheWay(err))
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, t.lower())
	}
	return t, nil
}

func (t fenceClsact) filter(parent uint32) *netlink.BpfFilter {
	return &netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{
		LinkIndex: t.index, Parent: parent, Handle: t.handle, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
	}}
}

func (t fenceClsact) port() int { return t.index }

func (t fenceClsact) attached() (bool, error) {
	found := 0
	err := withNetlink(func(h *netlink.Handle) error {
		all, err := clsactFilters(h, t.index)
		for _, f := range all {
			if f.Attrs().Handle == t.handle {
				found++
			}
		}
		if isGone(err) {
			return nil
		}
		return err
	})
	return found == 2, err
}

func (t fenceClsact) lower() error {
	return withNetlink(func(h *netlink.Handle) error {
		var errs []error
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			if err := h.FilterDel(t.filter(parent)); err != nil && !isGone(err) {
				errs = append(errs, fmt.Errorf("remove fence's filter: %w", err))
			}
		}
		if t.qdisc {
			if err := removeUnusedQdisc(h, t.index); err != nil && !isGone(err) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}

func withNetlink(do func(*netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	return do(h)
}
