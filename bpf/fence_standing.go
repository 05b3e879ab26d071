package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/snapline/snapline"
)

// Names of a fence's programs and maps in the kernel (15 bytes at the most).
const (
	fenceOutName      = "snapfence_out"
	fenceInName       = "snapfence_in"
	fenceRulesName    = "fence_rules"
	fenceCountersName = "fence_counters"
	fenceOwnerName    = "fence_owner"
	fenceWaysName     = "fence_ways"
)

// Standing looks at every interface of the namespace.
func (g *Gates) Standing(ctx context.Context) ([]snapline.Fence, error) {
	var fences []snapline.Fence
	err := g.ns.do(func() error {
		found := finder{ns: g.ns, byRules: map[ebpf.MapID]*Fence{}}
		err := withNetlink(func(h *netlink.Handle) error {
			links, err := h.LinkList()
			if err != nil {
				return fmt.Errorf("list interfaces: %w", err)
			}
			var errs []error
			for _, l := range links {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := found.look(h, l.Attrs().Index); err != nil {
					errs = append(errs, fmt.Errorf("interface %s: %w", l.Attrs().Name, err))
				}
			}
			return errors.Join(errs...)
		})
		fences = found.fences
		return err
	})
	if err != nil {
		err = fmt.Errorf("look for fences: %w", err)
	}
	return fences, err
}

// finder puts together what belongs to one fence: the same programs may be on
// several taps.
type finder struct {
	ns      namespace
	fences  []snapline.Fence
	byRules map[ebpf.MapID]*Fence
}

func (f *finder) look(h *netlink.Handle, index int) error {
	err := f.lookTCX(index)
	return errors.Join(err, f.lookClsact(h, index))
}

func (f *finder) lookTCX(index int) error {
	there, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return nil // no tcx in this kernel, or the interface is gone
	}
	for _, p := range there.Programs {
		fence, err := f.fence(p.ID)
		if err != nil {
			return err
		}
		if fence == nil {
			continue
		}
		if fence.maps.in == nil {
			if fence.maps.in, err = f.sister(fence, index); err != nil {
				return err
			}
		}
		fence.ties = append(fence.ties, fenceTCX{index, fence.maps})
	}
	return nil
}

// sister finds the other direction's program; nil when there is none, because the
// agent was killed while it raised the fence.
func (f *finder) sister(fence *Fence, index int) (*ebpf.Program, error) {
	there, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return nil, err
	}
	rules, err := fence.maps.rules.Info()
	if err != nil {
		return nil, err
	}
	want, _ := rules.ID()
	for _, p := range there.Programs {
		program, maps, err := openProgram(p.ID, fenceInName)
		if err != nil {
			return nil, err
		}
		if program == nil {
			continue
		}
		for _, id := range maps {
			if id == want {
				return program, nil
			}
		}
		program.Close()
	}
	return nil, nil
}

func (f *finder) lookClsact(h *netlink.Handle, index int) error {
	filters, err := h.FilterList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}, netlink.HANDLE_MIN_INGRESS)
	if err != nil {
		return nil // no such qdisc
	}
	for _, one := range filters {
		b, ok := one.(*netlink.BpfFilter)
		if !ok || b.Name != fenceFilterName && b.Name != fenceFilterNameQdisc {
			continue
		}
		fence, err := f.fence(ebpf.ProgramID(b.Id))
		if err != nil {
			return err
		}
		if fence != nil {
			fence.ties = append(fence.ties, fenceClsact{index, b.Handle, b.Name == fenceFilterNameQdisc})
		}
	}
	return nil
}

// fence takes hold of the fence with that program; nil when it is something else.
func (f *finder) fence(id ebpf.ProgramID) (*Fence, error) {
	program, maps, err := openProgram(id, fenceOutName)
	if program == nil || err != nil {
		return nil, err
	}
	k := fenceKernel{out: program}
	var rulesID ebpf.MapID
	for _, id := range maps {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return nil, errors.Join(err, k.close())
		}
		info, err := m.Info()
		if err != nil {
			return nil, errors.Join(err, m.Close(), k.close())
		}
		switch info.Name {
		case fenceRulesName:
			k.rules, rulesID = m, id
		case fenceCountersName:
			k.counters = m
		case fenceOwnerName:
			k.owner = m
		case fenceWaysName:
			k.ways = m
		default:
			m.Close()
		}
	}
	if known := f.byRules[rulesID]; known != nil {
		return known, k.close()
	}
	if k.rules == nil || k.counters == nil || k.owner == nil || k.ways == nil {
		return nil, errors.Join(errors.New("a fence of another version stands here: remove it with that version's agent, or end the machine"), k.close())
	}
	owner, err := decodeOwner(k.owner)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a fence does not say whose it is: %w", err), k.close())
	}
	fence := &Fence{ns: f.ns, owner: owner, maps: k}
	f.byRules[rulesID] = fence
	f.fences = append(f.fences, fence)
	return fence, nil
}

// openProgram returns the program of that number if it has that name, and the
// numbers of its maps.
func openProgram(id ebpf.ProgramID, name string) (*ebpf.Program, []ebpf.MapID, error) {
	p, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil // gone meanwhile
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := p.Info()
	if err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	if info.Name != name {
		return nil, nil, p.Close()
	}
	maps, _ := info.MapIDs()
	return p, maps, nil
}
