package protocol

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
)

// Intervals of an agent's own timers.
const (
	storedResend = time.Second      // repeat Stored until the outcome is known
	releaseAfter = 60 * time.Second // let go of the VM when no outcome comes
)

// Agent is one member's side of a snapshot round. The zero value is not
// usable; a restarted agent begins with a new one and a new incarnation.
type Agent struct {
	member      snapline.MemberName
	incarnation snapline.Incarnation

	state AgentState
	round snapline.Round // the present round, or the highest that was heard of
	ref   Ref
	spec  Prepare // what the coordinator asked for

	prepared Prepared
	cutBy    snapline.Instant // Dc on our clock
	gateBy   snapline.Instant // Dg on our clock
	cutAt    snapline.Instant
	report   snapline.CaptureReport
	hushed   bool // silenced by this round, and not heard again by it
	gateDown bool
	counters snapline.GateCounters
	stored   bool
	part     snapline.MemberSnapshot
	release  snapline.Instant

	// refusal is the answer that ended the last round, repeated when asked.
	refusal []snapline.Reason
	ending  Message // what to send once Drop is done
}

// AgentState is where a member is in its round.
type AgentState string

// States of an agent, in the order of a round that nothing disturbs.
const (
	AgentIdle     AgentState = "idle"
	AgentChecking AgentState = "checking"
	AgentReady    AgentState = "ready"
	AgentPausing  AgentState = "pausing" // barrier only
	AgentArmed    AgentState = "armed"
	AgentCutting  AgentState = "cutting"
	AgentMarked   AgentState = "marked"   // has cut, mark on, shield off
	AgentOpen     AgentState = "open"     // gate down, storing or stored
	AgentDropping AgentState = "dropping" // clearing up after a refusal or abort
)

// NewAgent returns the machine of one member in one life of its agent.
func NewAgent(m snapline.MemberName, life snapline.Incarnation) *Agent {
	return &Agent{member: m, incarnation: life, state: AgentIdle}
}

// State returns where the member is.
func (a *Agent) State() AgentState { return a.state }

// Round returns the round that the member is in, or was in last.
func (a *Agent) Round() snapline.Round { return a.round }

// Clone returns an independent copy.
func (a *Agent) Clone() *Agent { b := *a; return &b }

// String is the state on one line, for traces.
func (a *Agent) String() string {
	return fmt.Sprintf("%s %s round %d cut-by %d gate-by %d down %v stored %v", a.member, a.state, a.round, a.cutBy, a.gateBy, a.gateDown, a.stored)
}

// Step takes one event and returns what is to be done, in order.
func (a *Agent) Step(ev Event) []Effect {
	switch in := ev.Input.(type) {
	case Received:
		return a.receive(ev.At, in.Msg)
	case Rang:
		if in.Timer.Round != a.round {
			return nil
		}
		return a.rang(ev.At, in.Timer.Name)
	case Failed:
		if in.Round != a.round || a.idleOrDropping() || (in.Effect == EffectProbe && a.state != AgentReady) {
			return nil
		}
		return a.refuse(in.Reason)
	case Checked:
		return a.checked(in)
	case ProbesSeen:
		if in.Round != a.round || a.state != AgentReady {
			return nil
		}
		return []Effect{Send{Probed{Ref: a.ref, Seen: in.Seen}}}
	case Paused:
		if in.Round != a.round || a.state != AgentPausing {
			return nil
		}
		a.state = AgentArmed
		return []Effect{Send{Armed{a.ref}}}
	case Withheld:
		// A packet of this colour proves that some member has cut, and so that
		// all were armed (Lai and Yang). Should the colour have come from
		// elsewhere, a member that was not armed yet counts the leak.
		// The barrier cut has no colour and must hear Cut.
		if in.Round != a.round || a.state != AgentArmed || a.spec.Strategy == snapline.Barrier {
			return nil
		}
		return a.cut(ev.At)
	case Snapped:
		return a.snapped(ev.At, in)
	case GateClosed:
		return a.gateClosed(in)
	case Kept:
		return a.kept(ev.At, in)
	case Gone:
		if in.Round != a.round || a.idleOrDropping() || a.stored {
			return nil
		}
		return a.refuse(snapline.Reason{Member: a.member, Text: "the virtual machine went away during the round"})
	case Dropped:
		if in.Round != a.round || a.state != AgentDropping {
			return nil
		}
		a.state = AgentIdle
		if a.ending == nil {
			return nil
		}
		return []Effect{Send{a.ending}}
	}
	panic(fmt.Sprintf("protocol: agent %v: unknown input %T", a, ev.Input))
}

func (a *Agent) idleOrDropping() bool { return a.state == AgentIdle || a.state == AgentDropping }

func (a *Agent) receive(now snapline.Instant, m Message) []Effect {
	ref := m.About()
	if ref.Member != a.member {
		return nil
	}
	switch m := m.(type) {
	case Prepare:
		return a.prepare(now, m)
	case Abort:
		return a.abort(m)
	}
	if ref.Round != a.round || ref.Incarnation != a.incarnation {
		return a.stale(ref)
	}
	if a.state == AgentIdle {
		if _, over := m.(Commit); over {
			return nil
		}
		return a.repeatEnd()
	}
	switch m := m.(type) {
	case Probe:
		if a.state != AgentReady {
			return nil
		}
		return []Effect{ProbePaths{Round: a.round, Nonce: m.Nonce, Sender: m.Sender, Targets: m.Targets}}
	case Arm:
		return a.arm(now, m.Hush)
	case Cut:
		switch a.state {
		case AgentArmed:
			return a.cut(now)
		case AgentMarked, AgentOpen:
			return []Effect{Send{a.cutDone(now)}}
		}
	case Disarm:
		switch {
		case a.gateDown && (a.state == AgentMarked || a.state == AgentOpen):
			a.state = AgentOpen
			return []Effect{Send{Disarmed{Ref: a.ref, Counters: a.counters}}}
		case a.state == AgentMarked:
			return []Effect{CloseGate{a.round}}
		}
	case Commit:
		if a.stored {
			return a.drop(nil)
		}
	}
	return nil
}

func (a *Agent) prepare(now snapline.Instant, m Prepare) []Effect {
	switch {
	case m.Round < a.round: // its coordinator has moved on, or has lost its memory
		return []Effect{Send{Refused{Ref: m.Ref, Reasons: []snapline.Reason{{Member: a.member,
			Text: fmt.Sprintf("this agent has heard of round %d already", a.round),
			Hint: "if the coordinator has lost its data, restart the agent"}}}}}
	case m.Round == a.round && a.state == AgentReady:
		return []Effect{Send{a.prepared}}
	case m.Round == a.round && a.state == AgentIdle:
		return a.repeatEnd()
	case m.Round == a.round:
		return nil
	}
	var effects []Effect
	if a.state != AgentIdle { // a newer round: the coordinator forgot this one
		effects = a.abandon()
	}
	*a = Agent{member: a.member, incarnation: a.incarnation, state: AgentChecking, round: m.Round, spec: m}
	a.ref = m.Ref
	a.ref.Incarnation = a.incarnation
	if err := m.Deadlines.Valid(); err != nil {
		return append(effects, a.refuse(snapline.Reason{Member: a.member, Text: err.Error()})...)
	}
	return append(effects,
		SetTimer{Timer{a.round, TimerReady}, now.Add(m.Deadlines.Ready)},
		Check{Round: a.round, Member: m.Member, Strategy: m.Strategy, Post: m.Post, Hush: m.Hush})
}

func (a *Agent) checked(in Checked) []Effect {
	if in.Round != a.round || a.state != AgentChecking {
		return nil
	}
	if len(in.Reasons) > 0 {
		return a.refuse(in.Reasons...)
	}
	a.state = AgentReady
	a.prepared = Prepared{Ref: a.ref, MACs: in.MACs, RAMBytes: in.RAMBytes, Unhushed: in.Unhushed}
	return []Effect{Send{a.prepared}}
}
