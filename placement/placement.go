// Package placement exists so that where a group's members go is decided before
// anything is stopped, by a pure function that a person can ask beforehand: no
// host is asked, no clock is read, and the same request has the same answer.
//
// Memory and anti-affinity are hard: a plan never breaks them. Among the plans
// that are left the best one overcommits the fewest cores, then fetches the
// fewest bytes that no host has near, then moves the fewest members, then
// spreads the load. The search is exact for groups as they are met (see
// searchNodes); where it has to stop early the plan is still a valid one.
package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/snapline/snapline"
)

// Host is a host that may run members.
type Host struct {
	Name snapline.HostName
	// MemoryBytes is what the group's members may take of it: what is available
	// now, and what those of them that run there give back when they are stopped.
	MemoryBytes int64
	// Cores is how many processors it has, and Busy how many virtual ones other
	// groups' machines have there. 0 Cores: nobody knows, and they do not count.
	Cores, Busy int
	// Not are members that cannot be put there: another's machine has their place.
	Not []snapline.MemberName
}

// Member is a virtual machine that needs a place.
type Member struct {
	Name     snapline.MemberName
	RAMBytes int64
	VCPUs    int
	// StoredBytes is what starting it reads of the repository, and Near how much
	// of that a host has in its own cache.
	StoredBytes int64
	Near        map[snapline.HostName]int64
	// At is where it is now, or was; "" if that does not matter.
	At snapline.HostName
}

// Request is what is to be decided.
type Request struct {
	Hosts   []Host
	Members []Member
	// Apart are sets of members of which no two may share a host.
	Apart [][]snapline.MemberName
}

// Plan says who goes where.
type Plan map[snapline.MemberName]snapline.HostName

// Find returns the best plan, or why there is none: then every reason names a
// member, and none of them is about a host that the request does not have.
func Find(r Request) (Plan, []snapline.Reason) {
	s := newSearch(r)
	s.place(0, cost{})
	if !s.found {
		return nil, s.reasons()
	}
	p := Plan{}
	for i, h := range s.best {
		p[s.members[i].Name] = s.hosts[h].Name
	}
	return p, nil
}

// newSearch puts the request in an order of its own, so that the order in which
// hosts and members were listed does not matter.
func newSearch(r Request) *search {
	s := &search{hosts: slices.Clone(r.Hosts), members: slices.Clone(r.Members), left: searchNodes}
	slices.SortFunc(s.hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	// The largest first: what does not fit is found out early.
	slices.SortFunc(s.members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(b.RAMBytes, a.RAMBytes), cmp.Compare(a.Name, b.Name))
	})
	s.apart = make([][]bool, len(s.members))
	for i := range s.members {
		s.apart[i] = make([]bool, len(s.members))
		for j := range s.members {
			s.apart[i][j] = i != j && keptApart(r.Apart, s.members[i].Name, s.members[j].Name)
		}
	}
	s.at, s.free, s.busy = make([]int, len(s.members)), make([]int64, len(s.hosts)), make([]int, len(s.hosts))
	for h, host := range s.hosts {
		s.free[h], s.busy[h] = host.MemoryBytes, host.Busy
	}
	return s
}

func keptApart(sets [][]snapline.MemberName, a, b snapline.MemberName) bool {
	return slices.ContainsFunc(sets, func(set []snapline.MemberName) bool {
		return slices.Contains(set, a) && slices.Contains(set, b)
	})
}

// reasons explains why nothing was found: for each member that fits nowhere
// even alone, that; if each would, that together they do not.
func (s *search) reasons() []snapline.Reason {
	if len(s.hosts) == 0 {
		var all []snapline.Reason
		for _, m := range s.members {
			all = append(all, snapline.Reason{Member: m.Name, Text: "no host is there to run it", Hint: "start an agent on another host"})
		}
		return byMember(all)
	}
	var all []snapline.Reason
	for _, m := range s.members {
		roomiest := slices.MaxFunc(s.hosts, func(a, b Host) int { return cmp.Compare(a.MemoryBytes, b.MemoryBytes) })
		if roomiest.MemoryBytes < m.RAMBytes {
			all = append(all, snapline.Reason{Member: m.Name, Hint: "free memory there, or start an agent on another host",
				Text: fmt.Sprintf("it needs %d MiB of memory, and no host has more than %d MiB for it (%s)", m.RAMBytes>>20, max(0, roomiest.MemoryBytes)>>20, roomiest.Name)})
		}
	}
	if len(all) > 0 {
		return byMember(all)
	}
	var need, have int64
	var names []string
	for _, m := range s.members {
		need += m.RAMBytes
	}
	for _, h := range s.hosts {
		have += max(0, h.MemoryBytes)
		names = append(names, string(h.Name))
	}
	for i, m := range s.members {
		text := fmt.Sprintf("there is no room for all members together on %s: they need %d MiB, %d MiB are there", strings.Join(names, ", "), need>>20, have>>20)
		if slices.Contains(s.apart[i], true) {
			text += ", and it is to be kept apart from others"
		}
		var taken []string
		for _, h := range s.hosts {
			if slices.Contains(h.Not, m.Name) {
				taken = append(taken, string(h.Name))
			}
		}
		if taken != nil {
			text += ", and another machine has its place on " + strings.Join(taken, ", ")
		}
		all = append(all, snapline.Reason{Member: m.Name, Text: text, Hint: "start an agent on another host"})
	}
	return byMember(all)
}

func byMember(all []snapline.Reason) []snapline.Reason {
	slices.SortFunc(all, func(a, b snapline.Reason) int { return cmp.Compare(a.Member, b.Member) })
	return all
}
