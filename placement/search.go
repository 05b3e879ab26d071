package placement

import (
	"cmp"
	"slices"
)

// searchNodes bounds the search, in placements of one member that are tried:
// about half a second. Six members on ten hosts are searched to the end by it
// whatever they need; of more, the best of what was tried is taken. While
// nothing was found the search goes on for as long again.
const searchNodes = 1_000_000

// search is a branch-and-bound search over one member after the other.
type search struct {
	hosts   []Host
	members []Member
	apart   [][]bool

	at   []int   // host of each member that is placed
	free []int64 // memory left on each host
	busy []int   // virtual processors on each host

	found    bool
	best     []int // of the best plan so far, if one was found
	bestCost cost
	left     int // placements that may still be tried
}

// cost is what a plan is judged by, the first difference decides.
type cost struct {
	overcommit int   // virtual processors beyond the real ones, over all hosts
	fetched    int64 // bytes that are not near
	moved      int   // members that change their host
	crowding   int   // sum of the squares of the virtual processors on each host
}

func (a cost) compare(b cost) int {
	return cmp.Or(cmp.Compare(a.overcommit, b.overcommit), cmp.Compare(a.fetched, b.fetched),
		cmp.Compare(a.moved, b.moved), cmp.Compare(a.crowding, b.crowding))
}

// place finds a host for each member from i on; so is the cost until there,
// which only grows.
func (s *search) place(i int, so cost) {
	if i == len(s.members) {
		s.found, s.best, s.bestCost = true, append(s.best[:0:0], s.at...), so
		return
	}
	for _, h := range s.candidates(i) {
		if s.left--; s.left < 0 && s.found || s.left < -searchNodes {
			return
		}
		next := so.plus(s.costOf(i, h))
		if s.found && next.compare(s.bestCost) >= 0 {
			continue
		}
		m := s.members[i]
		s.at[i] = h
		s.free[h] -= m.RAMBytes
		s.busy[h] += m.VCPUs
		s.place(i+1, next)
		s.free[h] += m.RAMBytes
		s.busy[h] -= m.VCPUs
	}
}

// candidates are the hosts that can take member i now, the cheapest first: the
// first plan that is found is a good one already.
func (s *search) candidates(i int) []int {
	var fit []int
	costs := make([]cost, len(s.hosts))
	for h := range s.hosts {
		if s.free[h] < s.members[i].RAMBytes || s.meetsForbidden(i, h) {
			continue
		}
		costs[h] = s.costOf(i, h)
		// Insertion keeps hosts of equal cost in the order of their names.
		k := len(fit)
		for k > 0 && costs[h].compare(costs[fit[k-1]]) < 0 {
			k--
		}
		fit = append(fit, 0)
		copy(fit[k+1:], fit[k:])
		fit[k] = h
	}
	return fit
}

func (s *search) meetsForbidden(i, h int) bool {
	if slices.Contains(s.hosts[h].Not, s.members[i].Name) {
		return true
	}
	for j := range i {
		if s.at[j] == h && s.apart[i][j] {
			return true
		}
	}
	return false
}

// costOf is what placing member i on host h adds.
func (s *search) costOf(i, h int) (c cost) {
	m, host, before := s.members[i], s.hosts[h], s.busy[h]
	after := before + m.VCPUs
	if host.Cores > 0 {
		c.overcommit = max(0, after-host.Cores) - max(0, before-host.Cores)
	}
	c.fetched = max(0, m.StoredBytes-m.Near[host.Name])
	if m.At != "" && m.At != host.Name {
		c.moved = 1
	}
	c.crowding = after*after - before*before
	return c
}

func (a cost) plus(b cost) cost {
	return cost{a.overcommit + b.overcommit, a.fetched + b.fetched, a.moved + b.moved, a.crowding + b.crowding}
}
