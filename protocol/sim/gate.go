package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
	"github.com/snapline/snapline/protocol"
)

// gate models the packet path at one VM's tap: its rules are deadlines that the
// path itself compares with the host's clock.
type gate struct {
	host     *host
	attached bool
	round    snapline.Round
	rules    snapline.GateRules
	counters snapline.GateCounters
	noticed  bool // a Withheld is on its way to the agent
}

// hush models the fence that silences one VM: it stands in front of the gate and
// outlives rounds and agents.
type hush struct {
	until snapline.Instant // on the host's clock
	round snapline.Round
	// from and to are when the silence of a round began and ended, in the order of
	// what VMs do; to is 0 while it lasts.
	spans map[snapline.Round]*[2]uint64
}

// silence sets or, with Never, ends the silence of a round; one of an earlier round
// ends with the next.
func (h *host) silence(r snapline.Round, until snapline.Instant) {
	if until == snapline.Never && r != h.hush.round {
		return
	}
	if span := h.hush.spans[h.hush.round]; span != nil && span[1] == 0 && (until == snapline.Never || r != h.hush.round) {
		span[1] = h.w.tick()
	}
	h.hush.round, h.hush.until = r, until
	if until == snapline.Never {
		return
	}
	span := h.hush.spans[r]
	if span == nil {
		span = &[2]uint64{h.w.tick()}
		h.hush.spans[r] = span
		h.w.stats.Hushed++
	}
	h.w.at(h.clock.when(until), func() {
		if span[1] == 0 {
			span[1] = h.w.tick()
		}
	})
}

func (h *host) hushed() bool { return h.now() < h.hush.until }

func (g *gate) now() snapline.Instant { return g.host.now() }

func (g *gate) open(r snapline.Round) {
	*g = gate{host: g.host, attached: true, round: r}
}

func (g *gate) close() {
	g.attached, g.rules, g.counters = false, snapline.GateRules{}, snapline.GateCounters{}
}

// active reports whether a rule is in force.
func (g *gate) active() bool {
	return g.attached && (g.now() < g.rules.MarkUntil || g.now() < g.rules.ShieldUntil)
}

// out is the way of a packet from the VM to the network; false if it does not get
// there.
func (g *gate) out(p *packet) bool {
	if g.host.hushed() {
		g.host.w.packetTrace("%s keeps back %v", g.host.name, p)
		return false
	}
	p.left = true
	if p.frame != nil && g.attached {
		p.frame = g.rule().FromVM(p.frame, g.now()).Frame
	}
	if g.attached && g.now() < g.rules.MarkUntil {
		p.post = true
		g.counters.Marked++
		g.host.w.packetTrace("%s marks %v", g.host.name, p)
	}
	return true
}

// in is the way of a packet from the network to the VM.
func (g *gate) in(p *packet) {
	w := g.host.w
	if w.abandoned(p) {
		w.stats.Quarantined++
		w.packetTrace("%s keeps out %v of an abandoned timeline", g.host.name, p)
		return
	}
	if p.frame != nil && g.attached {
		// The rule decides about real frames, and must do what this model does
		// with abstract ones.
		o := g.rule().ToVM(p.frame, g.now())
		if withhold := p.post && g.now() < g.rules.ShieldUntil; o.Pass == withhold || (o.Counters.Leaked > 0) != (p.post && !withhold) {
			w.fault(fmt.Sprintf("%s: the gate's rule and its model do not agree about %v: %+v", g.host.name, p, o.Counters))
		}
	}
	if p.post && g.attached {
		if g.now() < g.rules.ShieldUntil {
			g.counters.Withheld++
			w.stats.Withheld++
			w.packetTrace("%s withholds %v", g.host.name, p)
			g.notice()
			return
		}
		g.counters.Leaked++
		w.packetTrace("%s lets pass %v", g.host.name, p)
	}
	w.vms[p.to].receive(p)
}

// rule is the gate as package bpf/rule has it, which knows frames.
func (g *gate) rule() rule.Gate { return rule.Gate{Post: snapline.PostCodepoint, Rules: g.rules} }

func (g *gate) notice() {
	if g.noticed {
		return
	}
	g.noticed = true
	round := g.round
	g.host.after(g.host.w.random.between(10*time.Microsecond, 400*time.Microsecond), func() {
		g.noticed = false
		g.host.input(protocol.Withheld{Round: round})
	})
}
