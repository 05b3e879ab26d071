package sim

import (
	"time"

	"github.com/snapline/snapline/protocol"
)

// partition cuts one member off the control network for a while, in both
// directions or in one only. Its data network works, and its agent lives.
func partition() adversary {
	var until moment
	var member int
	var there, back bool
	return adversary{
		name: "partition",
		step: func(w *World, p *process, _ protocol.Input) {
			if w.now < until || !w.random.chance(0.01) {
				return
			}
			until = w.now + moment(w.random.spread(5*time.Millisecond, 3*time.Second))
			member = w.random.below(len(w.hosts))
			there = w.random.chance(0.7)
			back = !there || w.random.chance(0.7)
			w.say("n%d is cut off until %.3f", member+1, float64(until)/1e6)
			end := until
			w.coordinator.watch(w.hosts[member], func() bool { return back && until == end && w.now < until })
		},
		letter: func(w *World, l letter, f *fate) {
			if w.now < until && l.member == member && (l.toAgent && there || !l.toAgent && back) {
				f.lost = true
			}
		},
	}
}
