package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// begin starts an effect that completes by itself.
func (h *host) begin(e protocol.Effect) {
	switch e := e.(type) {
	case protocol.Check:
		h.later(200*time.Microsecond, 4*time.Millisecond, func() { h.check(e) })
	case protocol.ProbePaths:
		h.probe(e)
	case protocol.PauseVM:
		h.later(100*time.Microsecond, 4*time.Millisecond, func() { h.pause(e) })
	case protocol.Snap:
		if h.w.storm && h.w.random.chance(h.lazy) {
			h.later(h.w.deadlines.Gate/2, h.w.deadlines.Gate*5/4, func() { h.snap(e) })
			return
		}
		h.later(20*time.Microsecond, 10*time.Millisecond, func() { h.snap(e) })
	case protocol.CloseGate:
		h.later(20*time.Microsecond, time.Millisecond, func() {
			if h.fails(e.Round, "CloseGate") {
				return
			}
			c := h.gate.counters
			h.gate.close()
			h.input(protocol.GateClosed{Round: e.Round, Counters: c})
		})
	case protocol.Store:
		h.later(500*time.Microsecond, 400*time.Millisecond, func() { h.store(e) })
	default:
		panic(fmt.Sprintf("sim: no such effect: %T", e))
	}
}

func (h *host) check(e protocol.Check) {
	if h.fails(e.Round, "Check") {
		return
	}
	h.silence(h.hush.round, snapline.Never)
	if e.Strategy == snapline.Colour {
		h.gate.open(e.Round)
	}
	h.input(protocol.Checked{Round: e.Round, MACs: []string{h.name}})
}

// probe sends probes through the data network, where adversaries may lose or
// bleach them, and reports those that have arrived here.
func (h *host) probe(e protocol.ProbePaths) {
	for _, other := range h.w.hosts {
		if other == h {
			continue
		}
		if mark, ok := h.w.path(h.member, other.member); ok {
			h.after(h.w.random.spread(30*time.Microsecond, 2*time.Millisecond), func() {
				h.w.probes[[3]uint64{uint64(e.Round), uint64(e.Sender), uint64(other.member)}] = mark
			})
		}
	}
	h.later(time.Millisecond, 4*time.Millisecond, func() {
		seen := map[uint32]snapline.Codepoint{}
		for i := range h.w.hosts {
			if mark, ok := h.w.probes[[3]uint64{uint64(e.Round), uint64(i + 1), uint64(h.member)}]; ok {
				seen[uint32(i+1)] = mark
			}
		}
		h.input(protocol.ProbesSeen{Round: e.Round, Seen: seen})
	})
}

func (h *host) pause(e protocol.PauseVM) {
	if h.fails(e.Round, "PauseVM") {
		return
	}
	h.armed, h.limit = h.now(), h.w.deadlines.Gate
	h.vm.pause(h.clock, e.AtMost)
	h.later(10*time.Microsecond, time.Millisecond, func() { h.input(protocol.Paused{Round: e.Round}) })
}

// snap makes the local snapshot: the instant lies somewhere in it.
func (h *host) snap(e protocol.Snap) {
	if h.fails(e.Round, "Snap") {
		h.vm.resume()
		return
	}
	h.taken = &instant{member: h.member, round: e.Round, order: h.w.tick(), state: h.vm.save()}
	h.w.say("%s: local snapshot at %d", h.name, h.taken.order)
	h.stopped = h.w.random.chance(0.2) // stop-and-copy
	if !h.stopped {
		h.vm.resume()
	}
	h.later(20*time.Microsecond, 10*time.Millisecond, func() {
		h.input(protocol.Snapped{Round: e.Round, Leaked: h.gate.counters.Leaked})
	})
}

func (h *host) store(e protocol.Store) {
	h.vm.resume()
	if h.fails(e.Round, "Store") {
		return
	}
	digest := h.w.repository.put(*h.taken)
	h.input(protocol.Kept{Round: e.Round, Part: snapline.MemberSnapshot{
		Name: snapline.MemberName(h.name), Object: snapline.Object{Digest: digest}}})
}
