package evidence

import (
	"math"

	"github.com/snapline/snapline"
)

// pair is a packet seen at two gates: a message from one clock's domain to
// another. Of several sendings that it may be, sent is the earliest: so what is
// concluded holds for each of them.
type pair struct {
	from, to       int32 // domains
	sent, received snapline.Instant
}

// pair notes a receipt as a message, if it is surely one of candidates and these
// are of one member.
func (m *matcher) pair(r *seen, candidates []entry) {
	if !strong(r.Packet) {
		return
	}
	first := &m.sends[candidates[0].send]
	sent := first.At
	for _, e := range candidates[1:] {
		s := &m.sends[e.send]
		if s.member != first.member {
			return
		}
		sent = min(sent, s.At)
	}
	m.pairs = append(m.pairs, pair{m.domain(first.member), m.domain(r.member), sent, r.At})
}

// domain numbers the clock that a member's gate reads: the first member on the
// same host stands for it.
func (m *matcher) domain(member int32) int32 {
	if t := m.traces[member]; t != nil && t.Host != "" {
		for i, o := range m.traces {
			if o != nil && o.Host == t.Host {
				return int32(i)
			}
		}
	}
	return member
}

// causality answers whether what happened at one member happened before another
// member's cut, in Lamport's sense (Time, clocks, and the ordering of events in
// a distributed system, 1978): by one clock, or by a chain of messages. It
// compares no two clocks.
type causality struct {
	m *matcher
	// latest[i][d] is an instant of domain d: all before it is known to be before
	// i's cut began. Made when first asked for.
	latest map[int32][]snapline.Instant
}

func (c *causality) precedesCut(r *seen, of int32) bool {
	latest := c.latest[of]
	if latest == nil {
		latest = c.latestBefore(of)
		c.latest[of] = latest
	}
	return r.At < latest[c.m.domain(r.member)]
}

func (c *causality) latestBefore(member int32) []snapline.Instant {
	latest := make([]snapline.Instant, len(c.m.members))
	for i := range latest {
		latest[i] = math.MinInt64
	}
	if t := c.m.traces[member]; t != nil {
		latest[c.m.domain(member)] = t.CutBegan
	}
	for changed := true; changed; {
		changed = false
		for _, p := range c.m.pairs {
			if p.received < latest[p.to] && p.sent > latest[p.from] {
				latest[p.from] = p.sent
				changed = true
			}
		}
	}
	return latest
}
