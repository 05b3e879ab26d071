package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/snapline/snapline/lab/topology"
)

// programs lists the eBPF programs on the taps of a namespace, by either way
// in which the kernel can hold them: tcx, or filters of a clsact qdisc.
func programs(ns topology.Namespace) (found []string, err error) {
	err = ns.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() != "tuntap" {
				continue
			}
			on, err := programsOn(l)
			if err != nil {
				return err
			}
			found = append(found, on...)
		}
		return nil
	})
	return found, err
}

func programsOn(l netlink.Link) (found []string, err error) {
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
			found = append(found, fmt.Sprintf("%s %v program %d", a.Name, at, p.ID))
		}
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(l, parent)
		if err != nil {
			return nil, fmt.Errorf("filters on %s: %w", a.Name, err)
		}
		for _, f := range filters {
			found = append(found, fmt.Sprintf("%s filter %v", a.Name, f))
		}
	}
	return found, nil
}

// ungated reports whether no program is attached on any of the hosts.
func (s *site) ungated(hosts ...string) error {
	for _, h := range hosts {
		found, err := programs(s.Place(h))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("on %s: %v", h, found)
		}
	}
	return nil
}

// awaitUngated waits until no host has a gate any more.
func (s *site) awaitUngated(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	return await(t, limit, "no gate on any host", func(context.Context) error { return s.ungated(s.hostNames()...) })
}

func (s *site) hostNames() []string {
	var names []string
	for _, h := range s.Hosts() {
		names = append(names, h.Name)
	}
	return names
}
