package explore

import (
	"fmt"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// kind is what can happen next.
type kind uint8

const (
	deliver kind = iota // a message
	finish              // a piece of a member's work
	write               // the record
	tell                // Recorded
	ring                // a timer
	packet
	pass   // a second
	reboot // a dead agent
	loseAgent
	succeed // a dead coordinator
	free    // the guard of a dead agent resumes the VM
	lose    // a message
	repeat  // a message: a copy arrives, another one stays under way
	crash
	fail
	cancel
	deny // writing the record fails, or only its confirmation
)

// action is one thing that can happen in a state.
type action struct {
	kind     kind
	who, arg int8
	// few, if not all, kills the process after so many effects. The coordinator
	// then begins with another member at each turn: none is always the first.
	few, turn int8
}

// sudden reports whether a crash may come in the middle of an action's effects.
func (k kind) sudden() bool { return k == deliver || k == finish || k == tell || k == ring }

// actions lists what can happen in a state, apart from crashes in the middle of
// an action's effects.
func (s *state) actions() []action {
	var as []action
	add := func(k kind, who, arg int) { as = append(as, action{kind: k, who: int8(who), arg: int8(arg), few: all}) }
	for i := range s.letters {
		if i > 0 && s.letters[i].order(s.letters[i-1]) == 0 {
			continue
		}
		add(deliver, 0, i)
		if s.left.letters > 0 {
			add(lose, 0, i)
			add(repeat, 0, i)
		}
	}
	for i := range s.cfg.Members {
		m := &s.members[i]
		if !m.alive {
			add(reboot, i, 0)
			if s.alive {
				add(loseAgent, i, 0)
			}
			if m.paused {
				add(free, i, 0)
			}
			continue
		}
		for w := range works {
			if m.work&(1<<w) == 0 {
				continue
			}
			add(finish, i, w)
			if s.left.failures > 0 && (1<<w)&(dropping|pauseSeen|snapSeen) == 0 {
				add(fail, i, w)
			}
		}
		for t := range m.timers {
			if s.mayRing(m.timers[t]) {
				add(ring, i, t)
			}
		}
		if s.left.crashes > 0 {
			add(crash, i, 0)
		}
	}
	s.packets(add)
	if s.alive {
		for t := range s.timers {
			if s.mayRing(s.timers[t]) {
				add(ring, int(coordinator), t)
			}
		}
		if s.left.crashes > 0 {
			add(crash, int(coordinator), 0)
		}
		if s.left.cancels > 0 {
			add(cancel, 0, 0)
		}
		switch s.writing {
		case recordBegun:
			add(write, 0, 0)
			if s.left.failures > 0 {
				add(deny, 0, 0)
				add(deny, 0, 1)
			}
		case recordAnswers:
			add(tell, 0, 0)
		}
	} else if !s.ended {
		add(succeed, 0, 0)
	}
	if s.waiting() && (!s.cfg.Timeless || s.still()) {
		add(pass, 0, 0)
	}
	return as
}

func (s *state) packets(add func(k kind, who, arg int)) {
	for i := range s.cfg.Members {
		for j := range s.cfg.Members {
			for k := range sentKinds {
				if i != j && s.members[i].sent&(1<<k) != 0 {
					add(packet, j, i*sentKinds+k)
				}
			}
		}
	}
}

// mayRing reports whether a timer could ring now: one with a deadline when it
// is over, another one when nothing is under way, or within the budget.
func (s *state) mayRing(t timer) bool {
	if t.at != snapline.Never {
		return s.now >= t.at
	}
	return s.left.hurries > 0 || s.still()
}

// waiting reports whether there is a deadline that time has yet to reach.
func (s *state) waiting() bool {
	for _, t := range s.timers {
		if t.at > s.now {
			return true
		}
	}
	for i := range s.cfg.Members {
		m := &s.members[i]
		if m.paused && m.until > s.now || m.attached && max(m.mark, m.shield) > s.now {
			return true
		}
		for _, t := range m.timers {
			if t.at > s.now {
				return true
			}
		}
	}
	return false
}

// after returns the state that an action leads to, or nil if nothing moves, and
// how many effects it had.
func (s *state) after(a action) (*state, int) {
	n := s.clone()
	n.turn = a.turn
	effects, moved := n.do(a)
	n.turn = 0
	if !moved {
		return nil, 0
	}
	if a.few != all {
		n.kill(a.process(s))
	}
	n.talk()
	n.tidy()
	return n, effects
}

// process is who executes the effects of an action.
func (a action) process(s *state) int8 {
	switch a.kind {
	case deliver:
		return s.letters[a.arg].to
	case finish, ring:
		return a.who
	}
	return coordinator
}

func (s *state) kill(who int8) {
	s.left.crashes--
	s.disturbed = true
	if who == coordinator {
		if !s.ended {
			s.die()
		}
		return
	}
	m := &s.members[who]
	m.alive, m.work, m.timers = false, 0, nil
	if !s.cfg.Pinned {
		m.detach()
	}
}

func (s *state) do(a action) (effects int, moved bool) {
	few := int(a.few)
	switch a.kind {
	case deliver:
		l := s.take(a.arg)
		effects, _ = s.step(l.to, protocol.Received{Msg: l.msg}, few)
		return effects, true
	case repeat:
		l := s.letters[a.arg]
		s.left.letters--
		s.disturbed = true
		return s.step(l.to, protocol.Received{Msg: l.msg}, all)
	case lose:
		s.take(a.arg)
		s.left.letters--
	case finish:
		return s.complete(a.who, 1<<a.arg, few)
	case fail:
		s.left.failures--
		s.fail(a.who, 1<<a.arg)
	case write:
		s.commit()
		s.writing = recordAnswers
		return 0, true
	case deny:
		s.left.failures--
		if a.arg == 1 {
			s.commit()
		}
		s.writing, s.err = recordAnswers, true
	case tell:
		why := ""
		if s.err {
			why = "no space left on device"
		}
		s.writing, s.err = recordNone, false
		return s.step(coordinator, protocol.Recorded{Err: why}, few)
	case ring:
		return s.ring(a.who, a.arg, few)
	case packet:
		return 0, s.arrive(a.arg/sentKinds, a.who, 1<<(a.arg%sentKinds))
	case pass:
		s.pass()
	case reboot:
		s.boot(a.who)
		return 0, true
	case loseAgent:
		return s.step(coordinator, protocol.Lost{Member: name(a.who), Reason: snapline.Reason{Text: "silent"}}, all)
	case free:
		s.members[a.who].paused = false
		return 0, true
	case crash:
		s.kill(a.who)
	case succeed:
		s.succeed()
	case cancel:
		s.left.cancels--
		s.disturbed = true
		return s.step(coordinator, protocol.Cancelled{}, all)
	}
	s.disturbed = true
	return 0, true
}

func (s *state) take(i int8) letter {
	l := s.letters[i]
	s.letters = slices.Concat(s.letters[:i], s.letters[i+1:])
	return l
}

func (s *state) ring(who, i int8, few int) (int, bool) {
	ts := &s.timers
	if who != coordinator {
		ts = &s.members[who].timers
	}
	t := (*ts)[i]
	if t.at == snapline.Never {
		if !s.still() {
			s.left.hurries--
			s.disturbed = true
		} else if t.Name != protocol.TimerResend {
			s.disturbed = true
		}
	}
	*ts = slices.Concat((*ts)[:i], (*ts)[i+1:])
	return s.step(who, protocol.Rang{Timer: t.Timer}, few)
}

// pass lets a second pass. The kernel's deadlines are kept to the moment.
func (s *state) pass() {
	s.now = s.now.Add(tick)
	s.learn()
	c := s.canonizer()
	for i := range s.cfg.Members {
		m := &s.members[i]
		m.key = c.of(int8(i)).agent(m.agent)
		if m.paused && s.now >= m.until {
			m.paused = false
		}
	}
}

// succeed lets a coordinator take over from a dead one: a round without a
// record is discarded, and the members are told once.
func (s *state) succeed() {
	s.ended, s.failed = true, !s.exists
	if !s.exists {
		s.discard()
	}
	for i := range int8(s.cfg.Members) {
		s.post(i, protocol.Abort{Ref: protocol.Ref{Group: "g", Round: s.round, Member: name(i)}, Why: "its coordinator died"})
	}
}

// String says what an action does in a state.
func (s *state) describe(a action) string {
	text := ""
	switch a.kind {
	case deliver, lose, repeat:
		l := s.letters[a.arg]
		text = fmt.Sprintf("%-9s < %s", who(l.to), protocol.Line("", s.now, protocol.Received{Msg: l.msg})[28:])
		text += map[kind]string{lose: " IS LOST", repeat: " (a copy)"}[a.kind]
	case finish:
		text = fmt.Sprintf("%-9s completes %s", who(a.who), workNames[a.arg])
	case fail:
		text = fmt.Sprintf("%-9s FAILS to %s", who(a.who), workNames[a.arg])
	case write:
		text = "the record is written"
	case deny:
		text = fmt.Sprintf("WRITING the record fails (exists all the same: %v)", a.arg == 1)
	case tell:
		text = "coordinator hears of the record"
	case ring:
		ts := s.timers
		if a.who != coordinator {
			ts = s.members[a.who].timers
		}
		text = fmt.Sprintf("%-9s timer %s rings", who(a.who), ts[a.arg].Name)
	case packet:
		text = fmt.Sprintf("%-9s %s of n%d arrives", who(a.who), sentNames[a.arg%sentKinds], a.arg/sentKinds+1)
	case pass:
		text = "a second passes"
	case reboot:
		text = fmt.Sprintf("%-9s the agent starts again", who(a.who))
	case loseAgent:
		text = fmt.Sprintf("coordinator loses n%d", a.who+1)
	case free:
		text = fmt.Sprintf("%-9s the guard resumes the VM", who(a.who))
	case crash:
		text = fmt.Sprintf("%-9s DIES", who(a.who))
	case succeed:
		text = "another coordinator takes over"
	case cancel:
		text = "the operator CANCELS"
	}
	if a.few != all {
		text += fmt.Sprintf("; %s DIES after %d of the effects", who(a.process(s)), a.few)
		if a.turn > 0 {
			text += fmt.Sprintf(", n%d first", a.turn+1)
		}
	}
	return fmt.Sprintf("%3d s  %s", (s.now-start)/snapline.Instant(tick), text)
}

func who(i int8) string {
	if i == coordinator {
		return "coord"
	}
	return string(name(i))
}
