package topology

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Program is an eBPF program on a tap.
type Program struct {
	Tap   string
	Where string // how it is attached
	Name  string // the program's, or the filter's
}

func (p Program) String() string { return fmt.Sprintf("%s on %s of %s", p.Name, p.Where, p.Tap) }

// Taps counts the namespace's taps that are in use. One that a script made, and
// whose machine has gone, stays as a device without a carrier.
func (n Namespace) Taps() (used int, err error) {
	err = n.eachTap(func(l netlink.Link) error {
		if l.Attrs().RawFlags&unix.IFF_RUNNING != 0 {
			used++
		}
		return nil
	})
	return used, err
}

// Programs lists what is attached to the namespace's taps, by either way in which
// the kernel can hold it: tcx, or filters of a clsact qdisc.
func (n Namespace) Programs() (found []Program, err error) {
	err = n.eachTap(func(l netlink.Link) error {
		on, err := programsOn(l)
		found = append(found, on...)
		return err
	})
	return found, err
}

func (n Namespace) eachTap(do func(netlink.Link) error) error {
	return n.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() == "tuntap" {
				if err := do(l); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func programsOn(l netlink.Link) (found []Program, err error) {
	a := l.Attrs()
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		r, err := link.QueryPrograms(link.QueryOptions{Target: a.Index, Attach: at})
		if errors.Is(err, ebpf.ErrNotSupported) {
			break // before Linux 6.6
		}
		if err != nil {
			return nil, fmt.Errorf("programs on %s: %w", a.Name, err)
		}
		for _, p := range r.Programs {
			found = append(found, Program{a.Name, at.String(), programName(p.ID)})
		}
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(l, parent)
		if err != nil {
			return nil, fmt.Errorf("filters on %s: %w", a.Name, err)
		}
		for _, f := range filters {
			name := f.Type()
			if b, ok := f.(*netlink.BpfFilter); ok {
				name = b.Name
			}
			found = append(found, Program{a.Name, "clsact", name})
		}
	}
	return found, nil
}

// programName is a program's name, or its number if it has gone meanwhile.
func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err == nil {
		defer p.Close()
		if info, err := p.Info(); err == nil {
			return info.Name
		}
	}
	return fmt.Sprintf("program %d", id)
}
