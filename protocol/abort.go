package protocol

import "github.com/snapline/snapline"

// blame adds one reason why the round cannot succeed. What is found out before
// the first Arm refuses the round; later it fails it.
func (c *Coordinator) blame(m *memberState, r snapline.Reason) {
	if c.problem == nil {
		c.problem = &snapline.Error{Code: snapline.CodeFailed, Message: "the round was aborted; every VM runs on and nothing was kept"}
		if c.phase == PhasePrepare || c.phase == PhaseProbe {
			c.problem.Code, c.problem.Message = snapline.CodeRefused, "the group cannot be snapshotted now; nothing was touched"
		}
	}
	if r.Member == "" {
		r.Member = m.spec.Name
	}
	if r.Host == "" {
		r.Host = m.spec.Host
	}
	c.problem.Reasons = append(c.problem.Reasons, r)
	sortReasons(c.problem.Reasons)
}

func (c *Coordinator) refused(now snapline.Instant, m *memberState, r Refused) []Effect {
	if m.ended || c.phase == PhaseCommit {
		return nil
	}
	m.ended = true // its own machine has cleared up before it said so
	if len(r.Reasons) == 0 {
		// Only a broken peer says so; but an abort must have a problem to report.
		r.Reasons = []snapline.Reason{{Text: "refused without a reason"}}
	}
	for _, reason := range r.Reasons {
		c.blame(m, reason)
	}
	switch c.phase {
	case PhaseAbort:
		return c.endWhenQuiet()
	case PhasePrepare:
		return append(c.step(m, "refused"), c.advance(now)...) // hear the others' reasons too
	}
	return c.startAbort(now)
}

// lost ends the member's part without its consent: its agent cannot be
// reached. Its gate rules end with the agent, or by Dg.
func (c *Coordinator) lost(now snapline.Instant, in Lost) []Effect {
	m := c.find(in.Member)
	if m == nil || m.ended || c.phase == PhaseCommit {
		return nil
	}
	m.ended = true
	if c.phase == PhaseAbort {
		return c.endWhenQuiet()
	}
	c.blame(m, in.Reason)
	if c.phase == PhasePrepare {
		return c.advance(now) // hear the others' reasons too
	}
	return c.startAbort(now)
}

func (c *Coordinator) abort(now snapline.Instant, problem *snapline.Error) []Effect {
	if c.phase == PhaseCommit || c.phase == PhaseAbort {
		return nil // decided already
	}
	if c.problem == nil {
		c.problem = problem
	}
	return c.startAbort(now)
}

func (c *Coordinator) startAbort(now snapline.Instant) []Effect {
	effects := c.enter(now, PhaseAbort)
	effects = append(effects, c.timer(TimerAbort, now.Add(abortLimit)))
	return append(effects, c.endWhenQuiet()...)
}

func (c *Coordinator) aborted(now snapline.Instant, m *memberState, _ Aborted) []Effect {
	if c.phase != PhaseAbort || m.ended {
		return nil
	}
	m.ended = true
	return c.endWhenQuiet()
}

// endWhenQuiet ends the round once no member has anything of it left.
func (c *Coordinator) endWhenQuiet() []Effect {
	if !c.all(func(m *memberState) bool { return m.ended }) {
		return nil
	}
	return c.end()
}

func (c *Coordinator) end() []Effect {
	c.phase = PhaseEnd
	return []Effect{Discard{c.round}, End{c.problem}}
}
