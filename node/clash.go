package node

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/snapline/snapline"
)

// clashes are sets of members of which no two can share a host, because there they
// would have one monitor, or one disk: scripts give machines on different hosts the
// same paths.
func clashes(s snapline.Snapshot) (sets [][]snapline.MemberName) {
	at := map[string][]snapline.MemberName{}
	add := func(what, path string, m snapline.MemberName) {
		key := what + " " + filepath.Clean(path)
		if !slices.Contains(at[key], m) {
			at[key] = append(at[key], m)
		}
	}
	for _, m := range s.Members {
		if spec := s.Group.Member(m.Name); spec != nil && spec.QEMU != nil {
			add("monitor", spec.QEMU.QMP, m.Name)
		}
		for _, d := range m.Disks {
			add("disk", d.Path, m.Name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(at)) {
		if len(at[key]) > 1 {
			sets = append(sets, at[key])
		}
	}
	return sets
}

// crowded says which members of a placement would have one monitor or disk.
func crowded(s snapline.Snapshot, place map[snapline.MemberName]snapline.HostName) (bad []snapline.Reason) {
	for _, set := range clashes(s) {
		first := map[snapline.HostName]snapline.MemberName{}
		for _, m := range set {
			if other, taken := first[place[m]]; taken {
				bad = append(bad, snapline.Reason{Member: m, Host: place[m], Text: fmt.Sprintf("has a monitor or a disk at the same path as %s", other), Hint: "place them on different hosts"})
				continue
			}
			first[place[m]] = m
		}
	}
	return bad
}

// sameMonitor reports whether two members, on one host, would have one monitor,
// which makes them one machine.
func sameMonitor(a, b snapline.Member) bool {
	return a.QEMU != nil && b.QEMU != nil && filepath.Clean(a.QEMU.QMP) == filepath.Clean(b.QEMU.QMP)
}

// takenBy lists the snapshot's members whose monitor on a host is that of another
// group's member; fate is held.
func (c *Coordinator) takenBy(s snapline.Snapshot, h snapline.HostName) (not []snapline.MemberName) {
	for g, rec := range c.groups {
		if g == s.Group.Name {
			continue
		}
		placed := rec.placed()
		for _, other := range placed.Members {
			for _, m := range s.Group.Members {
				if other.Host == h && sameMonitor(other, m) && !slices.Contains(not, m.Name) {
					not = append(not, m.Name)
				}
			}
		}
	}
	return not
}
