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

// out is the way of a packet from the VM to the network.
func (g *gate) out(p *packet) {
	if p.frame != nil && g.attached {
		p.frame = g.rule().FromVM(p.frame, g.now()).Frame
	}
	if g.attached && g.now() < g.rules.MarkUntil {
		p.post = true
		g.counters.Marked++
		g.host.w.packetTrace("%s marks %v", g.host.name, p)
	}
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
