package sim

import (
	"time"

	"github.com/snapline/snapline/protocol"
)

// stall stops a process for a while (SIGSTOP, an overloaded host), also for
// longer than the deadlines. VM and gate go on meanwhile.
func stall() adversary {
	return adversary{
		name: "stall",
		step: func(w *World, p *process, _ protocol.Input) {
			if w.random.chance(0.02) {
				w.after(w.random.spread(time.Microsecond, 2*time.Millisecond), func() {
					p.stall(w.random.spread(time.Millisecond, 3*w.deadlines.Gate))
				})
			}
		},
	}
}
