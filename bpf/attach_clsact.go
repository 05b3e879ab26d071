package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// filterHandle, "snap", and the name tell our filters from others'.
	filterHandle = 0x736e6170
	filterName   = "snapline-gate"
	// filterNameQdisc says in addition that we made the qdisc that the filter
	// hangs on, for those who clean up behind us: an empty clsact qdisc does not
	// show whose it is.
	filterNameQdisc = "snapline-gate+qdisc"
	// filterPriority is the first in line, see "Where in the path" in doc.go.
	filterPriority = 1
)

// clsact is an interface with our filters on its clsact qdisc.
type clsact struct {
	netlink *netlink.Handle // of the namespace that the interface is in
	index   int
	ours    bool // we made the qdisc
	filters []*netlink.BpfFilter
}

func attachClsact(objs *gateObjects, index int) (attachment, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	c := &clsact{netlink: h, index: index}
	if err := c.attach(objs); err != nil {
		return nil, errors.Join(err, c.detach())
	}
	return c, nil
}

func (c *clsact) attach(objs *gateObjects) error {
	err := c.netlink.QdiscAdd(clsactQdisc(c.index))
	switch {
	case err == nil:
		c.ours = true
	case !errors.Is(err, unix.EEXIST): // somebody's clsact serves us as well
		return fmt.Errorf("add clsact qdisc: %w", err)
	}
	name := filterName
	if c.ours {
		name = filterNameQdisc
	}
	for _, a := range []struct {
		parent  uint32
		program *ebpf.Program
		where   string
	}{
		{netlink.HANDLE_MIN_INGRESS, objs.FromVm, "ingress"},
		{netlink.HANDLE_MIN_EGRESS, objs.ToVm, "egress"},
	} {
		f := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: c.index,
				Parent:    a.parent,
				Handle:    filterHandle,
				Priority:  filterPriority,
				Protocol:  unix.ETH_P_ALL,
			},
			Fd:           a.program.FD(),
			Name:         name,
			DirectAction: true,
		}
		if err := c.netlink.FilterAdd(f); err != nil {
			return fmt.Errorf("add %s filter: %w%s", a.where, err, inTheWay(err))
		}
		c.filters = append(c.filters, f)
	}
	return nil
}

// inTheWay is the operator's next step when the kernel takes no filter of ours.
func inTheWay(err error) string {
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EINVAL) {
		return fmt.Sprintf(" (another filter or qdisc is in its place, priority %d: see tc filter show dev TAP ingress, and egress)", filterPriority)
	}
	return ""
}

// detach removes what attach has added. The qdisc stays when others have put
// filters on it.
func (c *clsact) detach() error {
	defer c.netlink.Close()
	var errs []error
	for _, f := range c.filters {
		if err := c.netlink.FilterDel(f); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("remove gate's filter: %w", err))
		}
	}
	if c.ours {
		errs = append(errs, removeUnusedQdisc(c.netlink, c.index))
	}
	return errors.Join(errs...)
}

func clsactQdisc(index int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// removeUnusedQdisc removes a clsact qdisc of ours unless a filter hangs on it.
// The kernel cannot do both in one step: a filter that somebody adds in between
// is lost.
func removeUnusedQdisc(h *netlink.Handle, index int) error {
	filters, err := clsactFilters(h, index)
	if err != nil || len(filters) > 0 {
		return err
	}
	if err := h.QdiscDel(clsactQdisc(index)); err != nil && !isGone(err) {
		return fmt.Errorf("remove gate's clsact qdisc: %w", err)
	}
	return nil
}

// clsactFilters lists what hangs on both sides of a clsact qdisc.
func clsactFilters(h *netlink.Handle, index int) ([]netlink.Filter, error) {
	l := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	var all []netlink.Filter
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		some, err := h.FilterList(l, parent)
		if err != nil {
			return nil, fmt.Errorf("list filters of interface %d: %w", index, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// isGone reports whether netlink could not delete something because it, its
// qdisc or its interface is no longer there.
func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}
