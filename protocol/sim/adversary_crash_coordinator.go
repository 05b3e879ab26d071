package sim

import (
	"time"

	"github.com/snapline/snapline/protocol"
)

// crashCoordinator kills the coordinator shortly after it has done something.
// It has a favourite phase.
func crashCoordinator() adversary {
	var favourite protocol.Phase
	return adversary{
		name: "crash coordinator",
		setup: func(w *World) {
			favourite = pick(&w.random, protocol.PhasePrepare, protocol.PhaseProbe, protocol.PhaseArm, protocol.PhaseCut,
				protocol.PhaseDisarm, protocol.PhaseStore, protocol.PhaseCommit, protocol.PhaseAbort)
		},
		step: func(w *World, p *process, _ protocol.Input) {
			if p != &w.coordinator.process {
				return
			}
			chance := 0.003
			if w.coordinator.machine.Phase() == favourite {
				chance = 0.1
			}
			if w.random.chance(chance) {
				w.coordinator.after(w.random.spread(time.Microsecond, 3*time.Millisecond), w.coordinator.crash)
			}
		},
	}
}
