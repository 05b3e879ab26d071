package sim

import "github.com/snapline/snapline/protocol"

// vmGone lets an agent believe that its VM went away. (The VM stays: what its
// death would do to the others is no more than silence.)
func vmGone() adversary {
	return adversary{
		name: "vm gone",
		step: func(w *World, p *process, _ protocol.Input) {
			if p != &w.coordinator.process && w.random.chance(0.005) {
				p.input(protocol.Gone{Round: w.coordinator.round})
			}
		},
	}
}
