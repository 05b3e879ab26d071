package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab/topology"
	"github.com/snapline/snapline/qemu/qmp"
)

// status asks a VM's monitor how it is. The monitor has room for one client:
// while an agent holds it, this is an error.
func status(ctx context.Context, socket string) (qmp.Status, error) {
	c, err := qmp.Dial(ctx, socket)
	if err != nil {
		return qmp.Status{}, err
	}
	defer c.Close()
	return qmp.Run(ctx, c, qmp.QueryStatus{})
}

// awaitRunning waits until a VM's monitor is free and says that it runs.
func awaitRunning(t *testing.T, limit time.Duration, socket string) {
	t.Helper()
	await(t, limit, "vm at "+socket+" runs", func(ctx context.Context) error {
		st, err := status(ctx, socket)
		if err == nil && !st.Running {
			err = fmt.Errorf("it is %s", st.Status)
		}
		return err
	})
}

// pids are the lab's virtual machines' processes, by name.
func (s *site) pids(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, v := range s.VMs() {
		pid, err := s.VMPid(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		all[v.Name] = pid
	}
	return all
}

// untouched fails the test when the VMs are not the processes that they were.
func (s *site) untouched(t *testing.T, before map[string]int) {
	t.Helper()
	if now := s.pids(t); !maps.Equal(now, before) {
		t.Errorf("processes of the virtual machines: %v, before %v", now, before)
	}
}

// killVMs ends every virtual machine of the lab at once.
func (s *site) killVMs(t *testing.T) {
	t.Helper()
	for _, v := range s.VMs() {
		if err := s.KillVM(t.Context(), v.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// tidy checks what has to be true whenever no round is under way: no eBPF
// program on any tap, no process beside daemons and virtual machines, no tap
// that no virtual machine uses.
func (s *site) tidy(t *testing.T) {
	t.Helper()
	if t.Failed() {
		return
	}
	// A quarantine that is running ends first.
	limit := 3*time.Second + snapline.DefaultQuarantine + 2*time.Second
	await(t, limit, "the site is tidy", func(context.Context) error {
		if err := s.ungated(s.hostNames()...); err != nil {
			return err
		}
		all, err := topology.Processes(s.Name)
		if err != nil {
			return err
		}
		machines := map[topology.Namespace]int{}
		for _, p := range all {
			switch name := filepath.Base(p.Args[0]); {
			case strings.HasPrefix(name, "qemu-system-"):
				machines[p.Namespace]++
			case name == "versitygw": // the lab's own
			case len(p.Args) < 2 || !slices.Contains([]string{"agent", "coordinator"}, p.Args[1]):
				return fmt.Errorf("process %d on %s: %v", p.PID, p.Namespace, p.Args)
			}
		}
		for _, h := range s.hostNames() {
			ns := s.Place(h)
			if left, err := filepath.Glob(filepath.Join(s.Dir, "disks", h, "*")); err != nil || slices.ContainsFunc(left, notDisk) {
				return fmt.Errorf("beside the disks of %s: %v, %v", h, left, err)
			}
			if n, err := taps(ns); err != nil || n != machines[ns] {
				return fmt.Errorf("%d taps for %d virtual machines on %s: %v", n, machines[ns], h, err)
			}
		}
		return nil
	})
}

// notDisk reports whether a file in a host's folder of disks is anything else:
// an overlay, a disk that was kept aside.
func notDisk(path string) bool {
	return filepath.Ext(path) != ".qcow2" || strings.HasPrefix(filepath.Base(path), ".") || strings.Contains(filepath.Base(path), "snapline")
}

// taps counts a namespace's taps that are in use. One that a script made, and
// whose machine has gone, stays as a device without a carrier.
func taps(ns topology.Namespace) (n int, err error) {
	err = ns.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Type() == "tuntap" && l.Attrs().RawFlags&unix.IFF_RUNNING != 0 {
				n++
			}
		}
		return err
	})
	return n, err
}
