package sim

import (
	"time"

	"github.com/snapline/snapline/protocol"
)

// crashAgent kills agents shortly after they have done something, and starts
// them again after a moment or after a long time. It has a favourite state.
func crashAgent() adversary {
	var favourite protocol.AgentState
	return adversary{
		name: "crash agent",
		setup: func(w *World) {
			favourite = pick(&w.random, protocol.AgentChecking, protocol.AgentReady, protocol.AgentPausing, protocol.AgentArmed,
				protocol.AgentCutting, protocol.AgentMarked, protocol.AgentOpen, protocol.AgentDropping)
		},
		step: func(w *World, p *process, _ protocol.Input) {
			h := w.hostOf(p)
			if h == nil {
				return
			}
			chance := 0.003
			if h.agent.State() == favourite {
				chance = 0.1
			}
			if w.random.chance(chance) {
				w.after(w.random.spread(time.Microsecond, 3*time.Millisecond), func() { killAndRestart(w, h) })
			}
		},
	}
}

func killAndRestart(w *World, h *host) {
	if !h.alive || !w.storm {
		return
	}
	h.crash()
	w.coordinator.watch(h, func() bool { return !h.alive })
	life := h.life
	w.after(w.random.spread(100*time.Microsecond, 4*time.Second), func() {
		if h.life == life {
			h.boot()
		}
	})
}
