package explore

import (
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// calmSteps bounds the calm: a history that takes longer does not end.
const calmSteps = 2000

// calm lets a state come to its end undisturbed, and wants it to be a good one:
// the round has ended, nothing is left behind, and another round commits. It
// returns what is wrong and the way there.
func (x *search) calm(s *state) (fault string, way []string) {
	var passed []key
	for _, again := range []bool{false, true} {
		if again {
			s = s.clone()
			s.disturbed = false
			s.start(s.round + 1)
			way = append(way, "     the next round begins")
		}
		p := &peace{state: s, seen: map[key]bool{}}
		for {
			p.drain()
			id := p.state.id()
			if _, ok := x.good[id]; ok {
				x.praise(passed)
				return "", nil
			}
			passed = append(passed, id)
			if !p.goOn(id) || p.state.fault != "" {
				break
			}
		}
		way, s = append(way, p.way...), p.state
		if s.judgeEnd(); s.fault != "" {
			return s.fault, way
		}
	}
	x.praise(passed)
	return "", nil
}

func (x *search) praise(ids []key) {
	for _, id := range ids {
		x.good[id] = struct{}{}
	}
}

// peace is a history without any more trouble.
type peace struct {
	state *state
	seen  map[key]bool // with nothing under way
	way   []string
}

// take does an action, if it moves anything.
func (p *peace) take(a action) bool {
	n, _ := p.state.after(a)
	if n == nil {
		return false
	}
	p.way = append(p.way, "     "+p.state.describe(a))
	n.disturbed = p.state.disturbed // patience is part of the calm
	p.state = n
	return true
}

// first does the first action of the wanted ones that moves anything.
func (p *peace) first(wanted func(*state, action) bool) bool {
	for _, a := range p.state.actions() {
		if wanted(p.state, a) && p.take(a) {
			return true
		}
	}
	return false
}

// drain does what can be done at once, until nothing is under way.
func (p *peace) drain() {
	for steps := 0; p.first(urgent); steps++ {
		if p.state.fault != "" {
			return
		}
		if steps > calmSteps {
			p.state.violate("the history does not end")
		}
	}
}

// goOn does what happens when nothing is under way: all questions are repeated;
// if that changes nothing, a second passes, or in the end somebody gives up.
func (p *peace) goOn(id key) bool {
	if !p.seen[id] {
		p.seen[id] = true
		p.repeatAll()
		return true
	}
	return p.first(func(s *state, a action) bool { return a.kind == pass }) ||
		p.first(func(s *state, a action) bool { return a.kind == ring && s.timer(a).Name != protocol.TimerResend })
}

func (p *peace) repeatAll() {
	n := p.state.clone()
	for who := coordinator; int(who) < n.cfg.Members; who++ {
		ts := n.timers
		if who != coordinator {
			ts = n.members[who].timers
		}
		for _, t := range ts {
			if t.Name == protocol.TimerResend {
				n.step(who, protocol.Rang{Timer: t.Timer}, all)
			}
		}
	}
	n.tidy()
	p.way = append(p.way, "     everybody repeats what has not been answered")
	p.state = n
}

// urgent reports whether an action needs no patience.
func urgent(s *state, a action) bool {
	switch a.kind {
	case deliver, finish, write, tell, reboot, succeed:
		return true
	case ring:
		return s.timer(a).at != snapline.Never
	}
	return false
}

func (s *state) timer(a action) timer {
	if a.who == coordinator {
		return s.timers[a.arg]
	}
	return s.members[a.who].timers[a.arg]
}

// prepare lets an undisturbed round come to a phase, or beyond where a variant
// has none.
func (s *state) prepare(to protocol.Phase) *state {
	order := []protocol.Phase{protocol.PhasePrepare, protocol.PhaseProbe, protocol.PhaseArm, protocol.PhaseCut}
	p := &peace{state: s}
	for slices.Index(order, p.state.machine.Phase()) < slices.Index(order, to) && p.first(urgent) {
	}
	return p.state
}
