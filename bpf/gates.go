package bpf

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Options say where and how gates are attached. The zero value is right for an
// agent.
type Options struct {
	// NetNS is the path of the network namespace that holds the taps; empty means
	// the one that the process lives in.
	NetNS string
	// ForceClsact uses the way of kernels before 6.6 on any kernel.
	ForceClsact bool
	// LowerShield breaks every gate on purpose, so that a test can see that the
	// proof finds it: shields stay down, and nothing tells of what they let pass.
	LowerShield bool
}

// Gates opens gates on the taps of one network namespace. Safe for use from
// several goroutines.
type Gates struct {
	ns          namespace
	forceClsact bool
	lowerShield bool
}

var _ snapline.Gates = (*Gates)(nil)

// New returns the Gates of a namespace. It fails when that does not exist.
// Nothing needs to be closed.
func New(o Options) (*Gates, error) {
	g := &Gates{ns: namespace(o.NetNS), forceClsact: o.ForceClsact, lowerShield: o.LowerShield}
	if err := g.ns.do(func() error { return nil }); err != nil {
		return nil, err
	}
	// Before Linux 5.11 maps count against RLIMIT_MEMLOCK.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory for eBPF maps: %w", err)
	}
	return g, nil
}

// Open attaches a gate to the taps of all the NICs or to none. When NICs cannot
// have a gate the error is a *snapline.Error with one reason for each of them.
// The gate that it returns is a *Gate. post may be 1 to 63.
//
// It takes some 5 ms, and 30 ms more for each NIC: the kernel waits for every
// packet that is under way when it attaches a tcx program.
func (g *Gates) Open(ctx context.Context, nics []snapline.NIC, post snapline.Codepoint) (snapline.Gate, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open gate: %w", err)
	}
	var gate *Gate
	err := g.ns.do(func() error {
		ports, err := findPorts(nics)
		if err != nil {
			return err
		}
		objs, err := load(post)
		if err != nil {
			return err
		}
		ties, mode, err := attach(objs, ports, g.forceClsact)
		if err != nil {
			objs.Close()
			return err
		}
		if gate, err = newGate(g.ns, ports, post, objs, ties, mode); err == nil {
			gate.lowerShield = g.lowerShield
		}
		return err
	})
	if err != nil {
		if gate != nil { // open, but the thread could not come back
			err = errors.Join(err, gate.Close())
		}
		return nil, err
	}
	return gate, nil
}

// Reconcile removes the clsact filters, and the clsact qdiscs made for them, of
// gates whose process has died. tcx needs none of that: its programs go with
// their process. Gates that are open in this namespace lose their filters too.
func (g *Gates) Reconcile(ctx context.Context) error {
	return g.ns.do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("reconcile gates: open netlink: %w", err)
		}
		defer h.Close()
		return reconcileClsact(ctx, h)
	})
}
