package protocol

import (
	"fmt"
	"slices"
	"time"

	"github.com/snapline/snapline"
)

// Intervals of the coordinator's own timers.
const (
	resendFast   = 100 * time.Millisecond // before the cut is over
	resendSlow   = time.Second            // while data is being stored
	prepareLimit = 12 * time.Second       // for every member to be ready, paths probed
	abortLimit   = 5 * time.Second        // for every member to confirm an abort
)

// Coordinator drives one round of one group and then ends. A round whose
// coordinator dies is aborted by its successor; nothing of it is resumed.
type Coordinator struct {
	phase     Phase
	group     snapline.GroupName
	round     snapline.Round
	strategy  snapline.Strategy
	post      snapline.Codepoint
	deadlines snapline.Deadlines
	members   []*memberState

	began      snapline.Instant // of the round
	armedSince snapline.Instant // when the first Arm was sent
	hushUntil  snapline.Instant // see Begin
	silence    time.Duration    // what Arm asks for
	cutReport  snapline.CutReport
	problem    *snapline.Error
}

// Phase is where a round is.
type Phase string

// Phases of a round, in order.
const (
	PhasePrepare Phase = "prepare"
	PhaseProbe   Phase = "probe" // coloured cut only: do the marks arrive?
	PhaseArm     Phase = "arm"
	PhaseCut     Phase = "cut"
	PhaseDisarm  Phase = "disarm"
	PhaseStore   Phase = "store"
	PhaseCommit  Phase = "commit"
	PhaseAbort   Phase = "abort"
	PhaseEnd     Phase = "end"
)

// memberState is what the coordinator knows of one member.
type memberState struct {
	spec     snapline.Member
	number   uint32
	life     snapline.Incarnation // of the agent that prepared
	prepared bool
	unhushed string // why it cannot be silenced
	macs     []string
	seen     map[uint32]snapline.Codepoint
	armed    bool
	cut      bool
	cutAt    snapline.Instant // estimated, on the coordinator's clock
	disarmed bool
	counters snapline.GateCounters
	stored   bool
	part     snapline.MemberSnapshot
	ended    bool // refused, lost or aborted: nothing more to wait for
}

// NewCoordinator returns the machine of one round. The round number must never
// have been used for this group.
func NewCoordinator(b Begin) *Coordinator {
	c := &Coordinator{phase: PhasePrepare, group: b.Group.Name, round: b.Round,
		strategy: b.Strategy, post: b.Post, deadlines: b.Deadlines, hushUntil: b.Hush}
	for i, m := range b.Group.Members {
		c.members = append(c.members, &memberState{spec: m, number: uint32(i + 1)})
	}
	return c
}

// Phase returns where the round is.
func (c *Coordinator) Phase() Phase { return c.phase }

// Clone returns an independent copy.
func (c *Coordinator) Clone() *Coordinator {
	d := *c
	d.members = make([]*memberState, len(c.members))
	for i, m := range c.members {
		n := *m
		d.members[i] = &n
	}
	if c.problem != nil { // reasons are added to it
		p := *c.problem
		p.Reasons = slices.Clone(p.Reasons)
		d.problem = &p
	}
	return &d
}

// String is the state on one line, for traces.
func (c *Coordinator) String() string {
	s := fmt.Sprintf("round %d %s", c.round, c.phase)
	for _, m := range c.members {
		s += fmt.Sprintf(" %s[%s]", m.spec.Name, m)
	}
	return s
}

func (m *memberState) String() string {
	s := ""
	for _, f := range []struct {
		on   bool
		mark string
	}{{m.prepared, "P"}, {m.seen != nil, "p"}, {m.armed, "A"}, {m.cut, "C"}, {m.disarmed, "D"}, {m.stored, "S"}, {m.ended, "x"}} {
		if f.on {
			s += f.mark
		}
	}
	return s
}

// Step takes one event and returns what is to be done, in order.
func (c *Coordinator) Step(ev Event) []Effect {
	if c.phase == PhaseEnd {
		return nil
	}
	switch in := ev.Input.(type) {
	case Started:
		c.began = ev.At
		effects := []Effect{c.timer(TimerPrepare, ev.At.Add(prepareLimit)), c.timer(TimerResend, ev.At.Add(resendFast)), Notify{Phase: PhasePrepare}}
		return append(effects, c.ask()...)
	case Received:
		return c.receive(ev.At, in.Msg)
	case Rang:
		if in.Timer.Round != c.round {
			return nil
		}
		return c.rang(ev.At, in.Timer.Name)
	case Lost:
		return c.lost(ev.At, in)
	case Cancelled:
		return c.abort(ev.At, &snapline.Error{Code: snapline.CodeCancelled, Message: "stopped on request"})
	case Recorded:
		return c.recorded(ev.At, in)
	case Failed:
		return c.abort(ev.At, &snapline.Error{Code: snapline.CodeFailed, Message: in.Effect, Reasons: []snapline.Reason{in.Reason}})
	}
	panic(fmt.Sprintf("protocol: coordinator %v: unknown input %T", c, ev.Input))
}

func (c *Coordinator) timer(n TimerName, at snapline.Instant) Effect {
	return SetTimer{Timer{c.round, n}, at}
}

func (c *Coordinator) ref(m *memberState) Ref {
	return Ref{Group: c.group, Round: c.round, Member: m.spec.Name, Incarnation: m.life}
}

func (c *Coordinator) find(n snapline.MemberName) *memberState {
	for _, m := range c.members {
		if m.spec.Name == n {
			return m
		}
	}
	return nil
}

// all reports whether every member satisfies f.
func (c *Coordinator) all(f func(*memberState) bool) bool {
	for _, m := range c.members {
		if !f(m) {
			return false
		}
	}
	return true
}

// ask sends the present phase's question to every member that has not answered
// it. Called when a phase begins and again by the resend timer.
func (c *Coordinator) ask() []Effect {
	var effects []Effect
	for _, m := range c.members {
		if msg := c.question(m); msg != nil {
			effects = append(effects, Send{msg})
		}
	}
	return effects
}

func (c *Coordinator) question(m *memberState) Message {
	ref := c.ref(m)
	switch c.phase {
	case PhasePrepare:
		if !m.prepared && !m.ended {
			return Prepare{Ref: ref, Member: m.spec, Strategy: c.strategy, Post: c.post, Deadlines: c.deadlines, Hush: c.hushUntil != snapline.Never}
		}
	case PhaseProbe:
		if len(c.unproven(m)) > 0 || c.owesProbes(m) {
			return Probe{Ref: ref, Nonce: c.nonce(), Sender: m.number, Targets: c.targets(m)}
		}
	case PhaseArm:
		if !m.armed {
			return Arm{ref, c.silence}
		}
	case PhaseCut:
		if !m.cut {
			return Cut{ref}
		}
	case PhaseDisarm:
		if !m.disarmed {
			return Disarm{ref}
		}
	case PhaseStore:
		// Nothing new is asked, but an agent that was restarted, or whose Refused
		// was lost, must be found out: otherwise the round would never end.
		if !m.stored {
			return Disarm{ref}
		}
	case PhaseAbort:
		if !m.ended {
			ref.Incarnation = ""
			return Abort{Ref: ref, Why: c.problem.Message}
		}
	}
	return nil
}

// enter begins a phase.
func (c *Coordinator) enter(now snapline.Instant, p Phase) []Effect {
	c.phase = p
	effects := []Effect{Notify{Phase: p}}
	switch p {
	case PhaseArm:
		c.armedSince = now
		effects = append(effects, c.hush(now)...)
		effects = append(effects, c.timer(TimerArm, now.Add(c.deadlines.Arm)))
	case PhaseCut:
		effects = append(effects, c.timer(TimerCut, c.armedSince.Add(c.deadlines.Gate)))
	case PhaseStore:
		return effects // Stored comes by itself; the resend timer asks who is silent
	}
	return append(effects, c.ask()...)
}
