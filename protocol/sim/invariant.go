package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

func (w *World) fault(s string) { w.violated = append(w.violated, s); w.say("FAULT: %s", s) }

// known returns the local snapshot that a digest stands for.
func (w *World) known(digest string) instant {
	i := instant{member: -1}
	var member int
	if _, err := fmt.Sscanf(digest, "n%d-%d-%d", &member, &i.round, &i.order); err == nil {
		i.member = member - 1
	}
	return i
}

// judgeRules: no gate rule may outlast Dg from arming, on the host's own clock.
func (w *World) judgeRules(h *host) {
	latest := h.armed.Add(h.limit)
	if h.gate.rules.MarkUntil > latest || h.gate.rules.ShieldUntil > latest {
		w.fault(fmt.Sprintf("%s: a rule outlasts Dg", h.name))
	}
}

// judgeRecord: what a record names must be stored.
func (w *World) judgeRecord(r protocol.Record) {
	w.say("the record of round %d is written", r.Round)
	for _, p := range r.Parts {
		if _, ok := w.repository.data[p.Object.Digest]; !ok {
			w.fault(fmt.Sprintf("round %d commits without the data of %s", r.Round, p.Name))
		}
	}
}

// judgeEnd: a round that ends well has a record, another one has none.
func (w *World) judgeEnd(round snapline.Round, e protocol.End) {
	_, exists := w.repository.records[round]
	if e.Problem == nil {
		w.stats.Committed++
		if w.coordinator.calm {
			w.stats.CalmCommitted++
		}
	}
	if exists != (e.Problem == nil) {
		w.fault(fmt.Sprintf("round %d ends with %v, but record: %v", round, e.Problem, exists))
	}
}

// judgeQuiet: when nothing is under way any more, nothing is left behind.
func (w *World) judgeQuiet() {
	if w.coordinator.running {
		w.fault(fmt.Sprintf("the round did not end: %v", w.coordinator.machine))
	}
	if len(w.queue) > 0 {
		w.fault(fmt.Sprintf("after %v there is still something under way", quietLimit))
	}
	for _, h := range w.hosts {
		if s := h.agent.State(); s != protocol.AgentIdle {
			w.fault(fmt.Sprintf("%s is not idle in the end: %v", h.name, h.agent))
		}
		if h.gate.attached {
			w.fault(fmt.Sprintf("%s: a gate is left behind", h.name))
		}
		if h.vm.paused {
			w.fault(fmt.Sprintf("%s: the VM is left paused", h.name))
		}
	}
}

// judgePause: no pause may last longer than Dg, whatever dies.
func (w *World) judgePause(h *host, from moment) {
	lasted := h.clock.read(w.now).Sub(h.clock.read(from))
	if lasted > w.deadlines.Gate+w.deadlines.Gate/100+time.Microsecond {
		w.fault(fmt.Sprintf("%s: the VM was paused for %v", h.name, lasted))
	}
}
