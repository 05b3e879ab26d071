package snapline

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Group is what a user declares: the members that make one distributed system.
type Group struct {
	Name    GroupName `json:"group"`
	Members []Member  `json:"members"`
	// AntiAffinity are sets of members of which no two may be placed on one host
	// when Snapline chooses the hosts, as a recovery does. Where a user says which
	// member goes where, that counts.
	AntiAffinity [][]MemberName `json:"anti_affinity,omitempty"`
}

// Member is one virtual machine of a group.
type Member struct {
	Name MemberName `json:"name"`
	// Host is where the member runs when the group is first applied. A restore
	// may place it elsewhere; the coordinator keeps track of where it is.
	Host HostName `json:"host"`
	QEMU *QEMU    `json:"qemu"`
}

// QEMU says how to reach a virtual machine that somebody else started.
type QEMU struct {
	// QMP is the absolute path of the QEMU monitor's unix socket on the host.
	QMP string `json:"qmp"`
}

// Member returns the member of that name, or nil.
func (g *Group) Member(n MemberName) *Member {
	for i := range g.Members {
		if g.Members[i].Name == n {
			return &g.Members[i]
		}
	}
	return nil
}

// Problems lists, all at once, why the declaration makes no sense; nil when it
// does. It looks at the declaration only, not at any host.
func (g *Group) Problems() []Reason {
	var bad []Reason
	add := func(m Member, format string, args ...any) {
		bad = append(bad, Reason{Member: m.Name, Host: m.Host, Text: fmt.Sprintf(format, args...)})
	}
	if err := CheckName("group", string(g.Name)); err != nil {
		add(Member{}, "%v", err)
	}
	if len(g.Members) == 0 {
		add(Member{}, "the group has no members")
	}
	names := map[MemberName]bool{}
	sockets := map[string]MemberName{}
	for _, m := range g.Members {
		if err := CheckName("member", string(m.Name)); err != nil {
			add(m, "%v", err)
		} else if names[m.Name] {
			add(m, "member %s is declared twice", m.Name)
		}
		names[m.Name] = true
		if err := CheckName("host", string(m.Host)); err != nil {
			add(m, "%v", err)
		}
		if m.QEMU == nil || m.QEMU.QMP == "" {
			add(m, "qemu.qmp is missing: the path of the QEMU monitor's unix socket")
			continue
		}
		if !filepath.IsAbs(m.QEMU.QMP) {
			add(m, "qemu.qmp %q is not an absolute path", m.QEMU.QMP)
			continue
		}
		at := string(m.Host) + "\x00" + filepath.Clean(m.QEMU.QMP)
		if other, taken := sockets[at]; taken {
			add(m, "qemu.qmp %s is already member %s's", m.QEMU.QMP, other)
		} else {
			sockets[at] = m.Name
		}
	}
	return append(bad, g.affinityProblems()...)
}

func (g *Group) affinityProblems() (bad []Reason) {
	for _, set := range g.AntiAffinity {
		if len(set) < 2 {
			bad = append(bad, Reason{Text: fmt.Sprintf("anti_affinity %v: it takes two members to be kept apart", set)})
		}
		for i, n := range set {
			if g.Member(n) == nil {
				bad = append(bad, Reason{Member: n, Text: "anti_affinity names it, and the group has no such member"})
			} else if slices.Contains(set[:i], n) {
				bad = append(bad, Reason{Member: n, Text: "anti_affinity names it twice in one set"})
			}
		}
	}
	return bad
}
