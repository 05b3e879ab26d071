package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// host is one machine with one agent and one member's VM.
type host struct {
	process
	member int
	lives  int // of the agent
	agent  *protocol.Agent
	vm     *vm
	gate   gate
	// pinned is a host whose gates outlive the agent (clsact); on the others the
	// gate goes with the process that opened it (tcx).
	pinned bool
	work   int // grows with every Drop: what was begun before is cancelled
	taken  *instant
	// slow stretches everything that takes time here.
	slow int
	// lazy is how often a snapshot takes about as long as a gate lives.
	lazy    float64
	armed   snapline.Instant // when the present round's gate or pause began
	limit   time.Duration    // Dg of the present round
	stopped bool             // the capture leaves the VM stopped until it is stored
	hush    hush
	late    protocol.Effect // what a mutant has put off
}

func newHost(w *World, i int, c clock) *host {
	h := &host{member: i, slow: 1}
	h.process = process{w: w, name: fmt.Sprintf("n%d", i+1), clock: c, step: h.stepAgent, execute: h.execute}
	h.gate.host = h
	h.hush.spans = map[snapline.Round]*[2]uint64{}
	h.vm = &vm{w: w, member: i}
	return h
}

func (h *host) boot() {
	h.lives++
	h.gate.close() // reconciled
	h.taken = nil
	h.work++
	h.agent = protocol.NewAgent(snapline.MemberName(h.name), snapline.Incarnation(fmt.Sprintf("%s.%d", h.name, h.lives)))
	h.start()
}

// crash kills the agent. Its host, VM and, if pinned, gate go on.
func (h *host) crash() {
	if !h.alive {
		return
	}
	h.w.say("%s: the agent dies (%v)", h.name, h.agent.State())
	h.w.stats.Crashes[h.agent.State()]++
	h.die()
	h.gate.noticed = false
	if !h.pinned {
		h.gate.close()
	}
}

func (h *host) stepAgent(ev protocol.Event) []protocol.Effect {
	before := h.agent.State()
	if f := h.w.variant.AgentEvent; f != nil {
		f(h, &ev)
	}
	effects := h.agent.Step(ev)
	h.w.stats.agent(ev.Input, before, h.agent.State())
	if f := h.w.variant.AgentEffects; f != nil {
		effects = f(h, ev, effects)
	}
	return effects
}

// takes is how long something lasts here.
func (h *host) takes(a, b time.Duration) time.Duration {
	d := h.w.random.spread(a, b)
	if h.w.storm {
		d *= time.Duration(h.slow)
	}
	return d
}

func (h *host) execute(e protocol.Effect, done func(bool)) {
	switch e := e.(type) {
	case protocol.Send:
		h.w.post(letter{member: h.member, msg: e.Msg})
	case protocol.SetTimer:
		h.timer(e)
	case protocol.Hush:
		h.silence(e.Round, e.Until)
	case protocol.SetGate:
		h.after(h.takes(time.Microsecond, 200*time.Microsecond), func() { done(h.setGate(e)) })
		return
	case protocol.Drop:
		h.after(h.takes(50*time.Microsecond, 3*time.Millisecond), func() {
			h.drop()
			done(true)
			h.input(protocol.Dropped{Round: e.Round})
		})
		return
	default:
		h.begin(e)
	}
	done(true)
}

func (h *host) setGate(e protocol.SetGate) bool {
	if !h.gate.attached || h.fails(e.Round, "SetGate") {
		return false
	}
	if h.gate.rules == (snapline.GateRules{}) {
		h.armed, h.limit = h.now(), h.w.deadlines.Gate
	}
	h.gate.rules = e.Rules
	h.w.judgeRules(h)
	return true
}

// drop ends whatever the round has here.
func (h *host) drop() {
	h.work++
	h.taken = nil
	h.gate.close()
	h.vm.resume()
}

// fails reports a failure of an effect to the agent if an adversary wants one.
func (h *host) fails(r snapline.Round, effect string) bool {
	if !h.w.storm || !h.w.random.chance(h.w.failing) {
		return false
	}
	h.w.stats.Failures++
	h.input(protocol.Failed{Round: r, Effect: effect, Reason: snapline.Reason{Text: effect + " did not work"}})
	return true
}

// later goes on with asynchronous work after a time, unless it was dropped.
func (h *host) later(a, b time.Duration, f func()) {
	work := h.work
	h.after(h.takes(a, b), func() {
		if h.work == work {
			f()
		}
	})
}
