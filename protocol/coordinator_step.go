package protocol

import (
	"fmt"
	"sort"
	"time"

	"github.com/snapline/snapline"
)

func (c *Coordinator) receive(now snapline.Instant, msg Message) []Effect {
	ref := msg.About()
	m := c.find(ref.Member)
	if m == nil || ref.Group != c.group || ref.Round != c.round {
		return nil
	}
	if p, ok := msg.(Prepared); ok {
		return c.prepared(now, m, p)
	}
	if a, ok := msg.(Aborted); ok {
		return c.aborted(now, m, a)
	}
	if m.life != "" && ref.Incarnation != m.life {
		return nil
	}
	switch msg := msg.(type) {
	case Refused:
		return c.refused(now, m, msg)
	case Probed:
		return c.probed(now, m, msg)
	case Armed:
		return c.armed(now, m)
	case CutDone:
		return c.cutDone(now, m, msg)
	case Disarmed:
		if m.disarmed || c.phase == PhaseAbort {
			return nil
		}
		m.disarmed, m.counters = true, msg.Counters
		return append(c.step(m, "disarmed"), c.advance(now)...)
	case Stored:
		if m.stored || c.phase == PhaseAbort {
			return nil
		}
		m.stored, m.part = true, msg.Part
		return append(c.step(m, "stored"), c.advance(now)...)
	}
	return nil
}

func (c *Coordinator) step(m *memberState, s string) []Effect {
	return []Effect{Notify{Phase: c.phase, Member: m.spec.Name, Step: s}}
}

// advance leaves the present phase when every member has answered it.
func (c *Coordinator) advance(now snapline.Instant) []Effect {
	switch c.phase {
	case PhasePrepare:
		if !c.all(func(m *memberState) bool { return m.prepared || m.ended }) {
			return nil
		}
		if c.problem != nil {
			return c.startAbort(now)
		}
		if c.strategy == snapline.Barrier || len(c.members) == 1 {
			return c.enter(now, PhaseArm)
		}
		return c.enter(now, PhaseProbe)
	case PhaseProbe:
		if c.all(func(m *memberState) bool { return len(c.unproven(m)) == 0 }) {
			return c.enter(now, PhaseArm)
		}
	case PhaseArm:
		if c.all(func(m *memberState) bool { return m.armed }) {
			return append(c.enter(now, PhaseCut), c.advance(now)...)
		}
	case PhaseCut:
		if c.all(func(m *memberState) bool { return m.cut }) {
			return append(c.enter(now, PhaseDisarm), c.advance(now)...)
		}
	case PhaseDisarm:
		if c.all(func(m *memberState) bool { return m.disarmed }) {
			c.measure(now)
			return append(c.enter(now, PhaseStore), c.advance(now)...)
		}
	case PhaseStore:
		if c.all(func(m *memberState) bool { return m.stored }) {
			return append(c.enter(now, PhaseCommit), c.record())
		}
	}
	return nil
}

func (c *Coordinator) prepared(now snapline.Instant, m *memberState, p Prepared) []Effect {
	switch {
	case m.life != "" && p.Incarnation != m.life:
		// The new life may hold a gate and a capture of its own by now: it is told
		// to abort like the others.
		if c.phase == PhaseCommit || c.phase == PhaseAbort {
			return nil
		}
		c.blame(m, snapline.Reason{Text: "the agent was restarted during the round"})
		return c.startAbort(now)
	case m.prepared || c.phase != PhasePrepare:
		return nil
	}
	m.prepared, m.life, m.macs, m.unhushed = true, p.Incarnation, p.MACs, p.Unhushed
	return append(c.step(m, "ready"), c.advance(now)...)
}

// armed counts only while Da lasts, by the time of the event: the deadlines of
// docs/PROTOCOL.md need every gate to be armed within Da of the first Arm.
func (c *Coordinator) armed(now snapline.Instant, m *memberState) []Effect {
	if c.phase != PhaseArm || m.armed {
		return nil
	}
	if now > c.armedSince.Add(c.deadlines.Arm) {
		return c.rang(now, TimerArm)
	}
	m.armed = true
	return append(c.step(m, "armed"), c.advance(now)...)
}

// cutDone may come while other members are still being armed: a packet of the
// POST colour from outside the group has made the member cut early. That is
// harmless unless the cut leaks to a member without a shield, which refuses.
func (c *Coordinator) cutDone(now snapline.Instant, m *memberState, d CutDone) []Effect {
	if m.cut || (c.phase != PhaseArm && c.phase != PhaseCut) {
		return nil
	}
	effects := []Effect{}
	if !m.armed { // its Armed was lost; CutDone says no less
		effects = append(effects, c.armed(now, m)...)
		if !m.armed {
			return effects
		}
	}
	if d.AgoNS < 0 {
		d.AgoNS = 0
	}
	m.cut, m.cutAt = true, now.Add(-time.Duration(d.AgoNS))
	return append(append(effects, c.step(m, "cut")...), c.advance(now)...)
}

// measure sums up the cut for its report.
func (c *Coordinator) measure(now snapline.Instant) {
	first, last := c.members[0].cutAt, c.members[0].cutAt
	r := snapline.CutReport{Strategy: c.strategy, DurationMS: ms(now.Sub(c.armedSince))}
	for _, m := range c.members {
		first, last = min(first, m.cutAt), max(last, m.cutAt)
		r.Withheld += m.counters.Withheld
		r.Marked += m.counters.Marked
	}
	r.SkewMS = ms(last.Sub(first))
	c.cutReport = r
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (c *Coordinator) record() Effect {
	parts := make([]snapline.MemberSnapshot, len(c.members))
	for i, m := range c.members {
		parts[i] = m.part
		parts[i].Counters = m.counters
	}
	return Record{Round: c.round, Cut: c.cutReport, Parts: parts}
}

func (c *Coordinator) recorded(now snapline.Instant, in Recorded) []Effect {
	if c.phase != PhaseCommit {
		return nil
	}
	if in.Err != "" {
		c.problem = &snapline.Error{Code: snapline.CodeFailed, Message: "the snapshot's record could not be written: " + in.Err}
		return c.startAbort(now)
	}
	c.phase = PhaseEnd
	var effects []Effect
	for _, m := range c.members {
		effects = append(effects, Send{Commit{c.ref(m)}})
	}
	return append(effects, End{})
}

func (c *Coordinator) rang(now snapline.Instant, t TimerName) []Effect {
	switch {
	case t == TimerResend:
		return c.resend(now)
	case t == TimerPrepare && c.phase == PhasePrepare:
		for _, m := range c.members {
			if !m.prepared && !m.ended {
				c.blame(m, snapline.Reason{Text: fmt.Sprintf("no answer within %v", prepareLimit), Hint: "see the agent's log on that host"})
			}
		}
		return c.startAbort(now)
	case t == TimerPrepare && c.phase == PhaseProbe:
		return c.pathsFailed(now)
	case t == TimerArm && c.phase == PhaseArm:
		return c.late(now, fmt.Sprintf("was not armed within %v", c.deadlines.Arm), func(m *memberState) bool { return m.armed })
	case t == TimerCut && c.phase == PhaseCut:
		return c.late(now, fmt.Sprintf("did not cut within %v", c.deadlines.Gate), func(m *memberState) bool { return m.cut })
	case t == TimerAbort && c.phase == PhaseAbort:
		return c.end()
	}
	return nil
}

func (c *Coordinator) resend(now snapline.Instant) []Effect {
	every := resendFast
	if c.phase == PhaseStore || c.phase == PhaseCommit || c.phase == PhaseAbort {
		every = resendSlow
	}
	return append(c.ask(), c.timer(TimerResend, now.Add(every)))
}

// late aborts because some members did not do what the phase asks in time.
func (c *Coordinator) late(now snapline.Instant, text string, done func(*memberState) bool) []Effect {
	for _, m := range c.members {
		if !done(m) && !m.ended {
			c.blame(m, snapline.Reason{Text: text, Hint: "the host or the network is overloaded; take again"})
		}
	}
	return c.startAbort(now)
}

func sortReasons(rs []snapline.Reason) {
	sort.SliceStable(rs, func(i, j int) bool { return rs[i].Member < rs[j].Member })
}
