package evidence

import (
	"math"
	"time"

	"github.com/snapline/snapline"
)

// Clock relates a member's clock to the first member's. A packet takes no less
// than no time, so those in one direction bound the difference from above and
// those in the other from below, as in NTP (RFC 5905); other members may lie
// between. It is for display: no verdict depends on it.
type Clock struct {
	Member snapline.MemberName `json:"member"`
	// Offset is what to take from this member's instants to get the first one's.
	Offset time.Duration `json:"offset_ns"`
	// Error is by how much Offset may be wrong, or -1 when there were not packets
	// in both directions; then Offset is a guess.
	Error time.Duration `json:"error_ns"`
}

// unbounded is greater than every sum of two bounds, and twice it fits.
const unbounded = math.MaxInt64 / 4

// clocks solves the bounds as shortest paths.
func (m *matcher) clocks() []Clock {
	n := len(m.members)
	bound := make([]int64, n*n) // [from*n+to]: to's clock is ahead of from's by no more
	for i := range bound {
		bound[i] = unbounded
	}
	for i := range n {
		bound[i*n+i] = 0
	}
	for _, p := range m.pairs {
		if p.from != p.to {
			b := &bound[int(p.from)*n+int(p.to)]
			*b = min(*b, clamp(int64(p.received-p.sent)))
		}
	}
	for via := range n {
		for from := range n {
			for to := range n {
				a, b := bound[from*n+via], bound[via*n+to]
				if a < unbounded && b < unbounded {
					bound[from*n+to] = clamp(min(bound[from*n+to], a+b))
				}
			}
		}
	}
	clocks := make([]Clock, n)
	for i := range clocks {
		from, to := int(m.domain(0)), int(m.domain(int32(i)))
		clocks[i] = m.clock(i, bound[from*n+to], bound[to*n+from])
	}
	return clocks
}

func clamp(v int64) int64 { return max(-unbounded+1, min(v, unbounded-1)) }

// clock makes the middle of two bounds an offset. Without any bound it takes the
// cuts, which are moments of one round, for simultaneous.
func (m *matcher) clock(i int, above, below int64) Clock {
	c := Clock{Member: m.members[i].Name, Error: -1}
	switch {
	case above < unbounded && below < unbounded:
		c.Offset = time.Duration((above - below) / 2)
		c.Error = max(time.Duration((above+below)/2), 0)
	case above < unbounded:
		c.Offset = time.Duration(above)
	case below < unbounded:
		c.Offset = time.Duration(-below)
	case m.traces[0] != nil && m.traces[i] != nil:
		c.Offset = time.Duration(clamp(int64(m.traces[i].CutBegan - m.traces[0].CutBegan)))
	}
	return c
}
