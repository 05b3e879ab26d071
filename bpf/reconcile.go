package bpf

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// reconcileClsact removes our filters from every interface of the handle's
// namespace, and the qdiscs that we made for them unless others use them.
func reconcileClsact(ctx context.Context, h *netlink.Handle) error {
	qdiscs, err := h.QdiscList(nil)
	if err != nil {
		return fmt.Errorf("reconcile gates: list qdiscs: %w", err)
	}
	var errs []error
	for _, q := range qdiscs {
		if q.Type() != "clsact" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reconcile gates: %w", err)
		}
		if err := reconcileInterface(h, q.Attrs().LinkIndex); err != nil {
			errs = append(errs, fmt.Errorf("reconcile gates: %w", err))
		}
	}
	return errors.Join(errs...)
}

func reconcileInterface(h *netlink.Handle, index int) error {
	filters, err := clsactFilters(h, index)
	if err != nil {
		return err
	}
	ourQdisc := false
	for _, f := range filters {
		b, ok := f.(*netlink.BpfFilter)
		if !ok || b.Handle != filterHandle || b.Name != filterName && b.Name != filterNameQdisc {
			continue
		}
		ourQdisc = ourQdisc || b.Name == filterNameQdisc
		if err := h.FilterDel(b); err != nil && !isGone(err) {
			return fmt.Errorf("remove filter %s of interface %d: %w", b.Name, index, err)
		}
	}
	if !ourQdisc {
		return nil
	}
	return removeUnusedQdisc(h, index)
}
