package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Fence is a fence that stands, or stood. Nothing of it lives in this process
// but a way to reach it.
type Fence struct {
	ns    namespace
	owner snapline.FenceOwner

	mu     sync.Mutex // guards the fields below
	closed bool
	maps   fenceKernel
	ties   []fenceTie
}

var (
	_ snapline.Fence  = (*Fence)(nil)
	_ snapline.Fences = (*Gates)(nil)
)

// fenceKernel is what the kernel holds of a fence, whoever loaded it.
type fenceKernel struct {
	rules, counters, owner, ways *ebpf.Map
	out, in                      *ebpf.Program
}

func (k fenceKernel) close() error {
	var errs []error
	for _, m := range []*ebpf.Map{k.rules, k.counters, k.owner, k.ways} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	for _, p := range []*ebpf.Program{k.out, k.in} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// Raise attaches a fence to the taps of all NICs or to none, some 30 ms for each.
func (g *Gates) Raise(ctx context.Context, s snapline.FenceSpec) (snapline.Fence, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("raise fence: %w", err)
	}
	var f *Fence
	err := g.ns.do(func() error {
		ports, err := findPorts(s.NICs)
		if err != nil {
			return err
		}
		k, err := newFenceKernel(s)
		if err != nil {
			return err
		}
		ties, err := attachFence(k, ports, g.forceClsact)
		if err != nil {
			return errors.Join(err, k.close())
		}
		f = &Fence{ns: g.ns, owner: s.Owner, maps: k, ties: ties}
		return nil
	})
	if err != nil {
		if f != nil { // raised, but the thread could not come back
			err = errors.Join(err, f.Lower())
		}
		return nil, fmt.Errorf("raise fence: %w", err)
	}
	return f, nil
}

// Owner says whose it is.
func (f *Fence) Owner() snapline.FenceOwner { return f.owner }

// Set replaces the rules by two map updates, about 2 µs: a fence that is to open
// with other rules than it had has these first.
func (f *Fence) Set(r snapline.FenceRules) error {
	return f.use("set fence rules", func() error {
		var now fenceRules
		if err := f.maps.rules.Lookup(uint32(0), &now); err != nil {
			return err
		}
		next := encodeFence(r)
		first := next
		first.OpenUntil = min(now.OpenUntil, next.OpenUntil)
		first.HushedUntil = max(now.HushedUntil, next.HushedUntil)
		if err := f.maps.rules.Put(uint32(0), first); err != nil {
			return err
		}
		return f.maps.rules.Put(uint32(0), next)
	})
}

// Rules reads them from the kernel.
func (f *Fence) Rules() (r snapline.FenceRules, err error) {
	err = f.use("read fence rules", func() error {
		var now fenceRules
		if err := f.maps.rules.Lookup(uint32(0), &now); err != nil {
			return err
		}
		r = snapline.FenceRules{
			OpenUntil: snapline.Instant(now.OpenUntil), RestoredUntil: snapline.Instant(now.RestoredUntil), RefuseUntil: snapline.Instant(now.RefuseUntil),
			HushedUntil: snapline.Instant(now.HushedUntil),
		}
		return nil
	})
	return r, err
}

// Counters reads the sums over all NICs and CPUs since Raise.
func (f *Fence) Counters() (c snapline.FenceCounters, err error) {
	err = f.use("read fence counters", func() error {
		var perCPU []fenceCounters
		if err := f.maps.counters.Lookup(uint32(0), &perCPU); err != nil {
			return err
		}
		for _, one := range perCPU {
			c.Shut += one.Shut
			c.Restored += one.Restored
			c.Refused += one.Refused
			c.Unnoted += one.Unnoted
		}
		return nil
	})
	return c, err
}

// Covers looks at what is attached to the taps of that name now.
func (f *Fence) Covers(nics []snapline.NIC) (bool, error) {
	all := true
	err := f.use("look at fence", func() error {
		return f.ns.do(func() error {
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			defer h.Close()
			for _, n := range nics {
				ok, err := f.covers(h, n.Tap)
				if err != nil {
					return err
				}
				all = all && ok
			}
			return nil
		})
	})
	return all && err == nil, err
}

func (f *Fence) covers(h *netlink.Handle, tap string) (bool, error) {
	if tap == "" {
		return false, nil
	}
	l, err := h.LinkByName(tap)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, t := range f.ties {
		if t.port() == l.Attrs().Index {
			return t.attached()
		}
	}
	return false, nil
}

// Lower takes the programs off the taps.
func (f *Fence) Lower() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	err := f.ns.do(func() error { return lowerAll(f.ties) })
	if err != nil {
		return fmt.Errorf("lower fence: %w", err) // to be tried again
	}
	f.closed = true
	return f.maps.close()
}

// Close lets go of the fence.
func (f *Fence) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	return f.maps.close()
}

// use calls do while the fence is open.
func (f *Fence) use(what string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := os.ErrClosed
	if !f.closed {
		err = do()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// encodeFence returns the rules as the programs read them: see encode.
func encodeFence(r snapline.FenceRules) fenceRules {
	return fenceRules{
		OpenUntil:     uint64(max(r.OpenUntil, snapline.Never)),
		RestoredUntil: uint64(max(r.RestoredUntil, snapline.Never)),
		RefuseUntil:   uint64(max(r.RefuseUntil, snapline.Never)),
		HushedUntil:   uint64(max(r.HushedUntil, snapline.Never)),
	}
}
