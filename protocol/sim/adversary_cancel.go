package sim

import "github.com/snapline/snapline/protocol"

// cancel is an operator who changes his mind.
func cancel() adversary {
	return adversary{
		name: "cancel",
		step: func(w *World, p *process, _ protocol.Input) {
			if w.random.chance(0.01) {
				w.coordinator.input(protocol.Cancelled{})
			}
		},
	}
}
