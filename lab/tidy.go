package lab

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/snapline/snapline/lab/topology"
)

// Tidy checks what has to be true of a lab whose virtual machines all run while
// no round is under way: no eBPF program on any tap but those that may be there (nil:
// none), no process beside daemons and virtual machines, no tap that no virtual
// machine uses, nothing beside the disks. The error is the first thing that is
// left, so it is asked again until a round, or a quarantine, has ended.
func (l *Lab) Tidy(may func(topology.Program) bool) error {
	all, err := topology.Processes(l.Name)
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
	for _, h := range l.Hosts() {
		ns := l.Place(h.Name)
		programs, err := ns.Programs()
		if err != nil {
			return err
		}
		for _, p := range programs {
			if may == nil || !may(p) {
				return fmt.Errorf("on %s: %v", h.Name, p)
			}
		}
		if left, err := l.BesideDisks(h.Name); err != nil || len(left) > 0 {
			return fmt.Errorf("beside the disks of %s: %v, %v", h.Name, left, err)
		}
		if n, err := ns.Taps(); err != nil || n != machines[ns] {
			return fmt.Errorf("%d taps for %d virtual machines on %s: %v", n, machines[ns], h.Name, err)
		}
	}
	return nil
}

// BesideDisks lists the files in a host's folder of disks that are anything else:
// overlays, disks that are kept aside.
func (l *Lab) BesideDisks(host string) (left []string, err error) {
	files, err := filepath.Glob(filepath.Join(l.diskDir(host), "*"))
	for _, f := range files {
		if name := filepath.Base(f); filepath.Ext(name) != ".qcow2" || strings.HasPrefix(name, ".") || strings.Contains(name, "snapline") {
			left = append(left, f)
		}
	}
	return left, err
}
