package explore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// all lets a step execute every effect.
const all = -1

// step gives one machine one input and executes its effects, all or the first
// few; it returns how many there were and whether anything moved at all.
func (s *state) step(who int8, in protocol.Input, few int) (effects int, moved bool) {
	if who == coordinator {
		return s.stepCoordinator(in, few)
	}
	m := &s.members[who]
	if !m.alive {
		return 0, false
	}
	ev := protocol.Event{At: s.now, Input: in}
	if f := s.cfg.Variant.AgentEvent; f != nil {
		f(m.armed, &ev)
	}
	before := m.key
	m.agent = m.agent.Clone()
	todo := m.agent.Step(ev)
	m.key = s.canonizer().of(who).agent(m.agent)
	for k, e := range todo {
		if k == few {
			break
		}
		if f := s.cfg.Variant.AgentEffect; f != nil {
			e = f(e)
		}
		s.executeAgent(who, e)
		s.talk()
	}
	return len(todo), len(todo) > 0 || m.key != before
}

func (s *state) stepCoordinator(in protocol.Input, few int) (int, bool) {
	if !s.alive {
		return 0, false
	}
	ev := protocol.Event{At: s.now, Input: in}
	if f := s.cfg.Variant.CoordinatorEvent; f != nil {
		f(&ev)
	}
	s.machine = s.machine.Clone()
	todo := s.machine.Step(ev)
	if f := s.cfg.Variant.Coordinator; f != nil {
		todo = f(s.machine, s.now, todo)
	}
	changed := s.learn()
	turn(todo, int(s.turn))
	for k, e := range todo {
		if k == few {
			break
		}
		s.executeCoordinator(e)
	}
	return len(todo), len(todo) > 0 || changed
}

// turn lets the coordinator address members in another order, as if they had
// been declared in that one.
func turn(effects []protocol.Effect, by int) {
	if by == 0 {
		return
	}
	var sends []int
	for i, e := range effects {
		if message(e) != nil {
			sends = append(sends, i)
		}
	}
	was := slices.Clone(effects)
	for i, at := range sends {
		effects[at] = was[sends[(i+by)%len(sends)]]
	}
}

// message is what an effect sends, or nil.
func message(e protocol.Effect) protocol.Message {
	if s, ok := e.(protocol.Send); ok {
		return s.Msg
	}
	return nil
}

// setTimer keeps the deadline of the timers that safety rests on; the others
// only make somebody impatient.
func setTimer(ts []timer, t protocol.SetTimer) []timer {
	n := timer{Timer: t.Timer}
	switch t.Timer.Name {
	case protocol.TimerArm, protocol.TimerCut, protocol.TimerGate:
		n.at = t.At
	}
	at, found := slices.BinarySearchFunc(ts, n, func(a, b timer) int {
		if c := strings.Compare(string(a.Name), string(b.Name)); c != 0 {
			return c
		}
		if a.Round != b.Round {
			return int(a.Round) - int(b.Round)
		}
		return int(a.at - b.at)
	})
	if found {
		return ts
	}
	return slices.Concat(ts[:at], []timer{n}, ts[at:])
}

func (s *state) executeCoordinator(e protocol.Effect) {
	switch e := e.(type) {
	case protocol.Send:
		s.post(number(e.Msg), e.Msg)
	case protocol.SetTimer:
		s.timers = setTimer(s.timers, e)
	case protocol.Record:
		s.writing, s.writes = recordBegun, e
	case protocol.Discard:
		s.discard()
	case protocol.Notify:
	case protocol.End:
		s.ended, s.failed = true, e.Problem != nil
		s.die()
		if s.exists == s.failed {
			s.violate("the round ends with a problem: %v, with a record: %v", s.failed, s.exists)
		}
	default:
		panic(fmt.Sprintf("explore: no such effect: %T", e))
	}
}

// die ends the coordinator's process.
func (s *state) die() { s.alive, s.timers, s.writing, s.err = false, nil, recordNone, false }

// discard removes the round's record first, then its data.
func (s *state) discard() {
	s.exists = false
	for i := range s.cfg.Members {
		if s.members[i].stored == s.round {
			s.members[i].stored = 0
		}
	}
}

func (s *state) executeAgent(who int8, e protocol.Effect) {
	m := &s.members[who]
	begin := func(w work, r snapline.Round) { m.work, m.round = m.work|w, r }
	switch e := e.(type) {
	case protocol.Send:
		s.post(coordinator, e.Msg)
	case protocol.SetTimer:
		m.timers = setTimer(m.timers, e)
	case protocol.SetGate:
		s.setGate(m, e)
	case protocol.Drop:
		m.drop()
		begin(dropping, e.Round)
	case protocol.Check:
		begin(checking, e.Round)
	case protocol.ProbePaths:
		begin(probing, e.Round)
	case protocol.PauseVM:
		begin(pausing, e.Round)
		m.until = s.now.Add(e.AtMost)
	case protocol.Snap:
		begin(snapping, e.Round)
	case protocol.CloseGate:
		begin(closing, e.Round)
	case protocol.Store:
		begin(storing, e.Round)
	default:
		panic(fmt.Sprintf("explore: no such effect: %T", e))
	}
}

func (s *state) setGate(m *member, e protocol.SetGate) {
	if !m.attached {
		return
	}
	if m.mark == snapline.Never && m.shield == snapline.Never {
		m.armed = s.now
	}
	m.mark, m.shield = e.Rules.MarkUntil, e.Rules.ShieldUntil
	if limit := m.armed.Add(deadlines().Gate); m.mark > limit || m.shield > limit {
		s.violate("a rule of a gate outlasts Dg")
	}
}

// complete ends the first part of one piece of a member's work.
func (s *state) complete(who int8, w work, few int) (int, bool) {
	m := &s.members[who]
	m.work &^= w
	r := m.round
	var in protocol.Input
	switch w {
	case checking:
		if s.cfg.Strategy == snapline.Colour {
			m.detach()
			m.attached = true
		}
		in = protocol.Checked{Round: r, MACs: []string{string(name(who))}}
	case probing:
		seen := map[uint32]snapline.Codepoint{}
		for i := range s.cfg.Members {
			if i != int(who) {
				seen[uint32(i+1)] = snapline.PostCodepoint
			}
		}
		in = protocol.ProbesSeen{Round: r, Seen: seen}
	case pausing:
		m.paused, m.armed = s.now < m.until, s.now
		m.work |= pauseSeen
		return 1, true
	case pauseSeen:
		in = protocol.Paused{Round: r}
	case snapping:
		m.cut, m.paused = r, false
		m.work |= snapSeen
		s.talk()
		return 1, true
	case snapSeen:
		leaked := uint64(bit(m.leaked))
		in = protocol.Snapped{Round: r, Leaked: leaked}
	case closing:
		m.detach()
		in = protocol.GateClosed{Round: r}
	case storing:
		m.paused, m.stored = false, r
		in = protocol.Kept{Round: r, Part: snapline.MemberSnapshot{Name: name(who), Object: snapline.Object{Digest: fmt.Sprintf("%s/%d", name(who), r)}}}
	case dropping:
		in = protocol.Dropped{Round: r}
	}
	s.talk()
	return s.step(who, in, few)
}

// fail ends a piece of work without success.
func (s *state) fail(who int8, w work) {
	m := &s.members[who]
	m.work &^= w
	if w == snapping {
		m.paused = false
	}
	s.step(who, protocol.Failed{Round: m.round, Effect: "work", Reason: snapline.Reason{Text: "it did not work"}}, all)
}

// arrive brings a packet of the given kind to the gate of member to.
func (s *state) arrive(from, to int8, kind sent) (moved bool) {
	m := &s.members[to]
	if m.paused {
		return false // it waits in the tap
	}
	if kind != plainAfter && m.attached {
		if s.now < m.shield {
			if m.agent.State() != protocol.AgentArmed { // no other state minds
				return false
			}
			_, moved = s.step(to, protocol.Withheld{Round: m.agent.Round()}, all)
			return moved
		}
		moved = !m.leaked
		m.leaked = true
	}
	if kind != markedBefore && m.cut == 0 && !s.orphans[from][to] {
		s.orphans[from][to] = true
		moved = true
	}
	return moved
}

// talk lets every VM that runs send to all others.
func (s *state) talk() {
	if s.round > 1 || s.exists || s.hopeless() {
		return // the round after is there to succeed, not to be disturbed
	}
	for i := range s.cfg.Members {
		s.members[i].talk(s.now, s.cfg.Foreign && i == 0)
	}
}
