package protocol

import (
	"fmt"

	"github.com/snapline/snapline"
)

// stale answers a message meant for another life of this agent: that life's
// gate and capture are gone, so the round cannot go on.
func (a *Agent) stale(ref Ref) []Effect {
	if ref.Incarnation == a.incarnation {
		return nil // an older round of this life
	}
	return []Effect{Send{Refused{Ref: ref, Reasons: []snapline.Reason{{Member: a.member, Text: "the agent was restarted during the round"}}}}}
}

// repeatEnd says again how the last round ended here.
func (a *Agent) repeatEnd() []Effect {
	switch {
	case a.refusal != nil:
		return []Effect{Send{Refused{Ref: a.ref, Reasons: a.refusal}}}
	case a.stored && a.gateDown: // let go by TimerRelease: the coordinator may be back
		return []Effect{Send{Disarmed{Ref: a.ref, Counters: a.counters}}, Send{Stored{Ref: a.ref, Part: a.part}}}
	}
	return nil
}

func (a *Agent) rang(now snapline.Instant, t TimerName) []Effect {
	switch {
	case t == TimerReady && (a.state == AgentChecking || a.state == AgentReady):
		return a.refuse(snapline.Reason{Member: a.member, Text: fmt.Sprintf("the coordinator fell silent for %v", a.spec.Deadlines.Ready)})
	case t == TimerGate && (a.state == AgentPausing || a.state == AgentArmed || a.state == AgentCutting):
		return a.refuse(snapline.Reason{Member: a.member, Text: fmt.Sprintf("no cut within %v of being armed", a.spec.Deadlines.Gate)})
	case t == TimerGate && a.state == AgentMarked && !a.gateDown:
		// The kernel has stopped marking by now, which is safe: no member of this
		// round can still cut.
		return []Effect{CloseGate{a.round}}
	case t == TimerResend && a.stored && !a.idleOrDropping():
		return a.sendStored(now)
	case t == TimerRelease && a.stored && !a.idleOrDropping():
		// The coordinator is gone. Whether the snapshot exists is for the
		// repository to say; the data stays, the VM is let go.
		if !a.gateDown {
			return a.refuse(snapline.Reason{Member: a.member, Text: fmt.Sprintf("the coordinator fell silent for %v", releaseAfter)})
		}
		return a.drop(nil)
	}
	return nil
}

func (a *Agent) abort(m Abort) []Effect {
	switch {
	case m.Round < a.round:
		return []Effect{Send{Aborted{m.Ref}}}
	case m.Round == a.round && a.state == AgentIdle:
		return append(a.heard(), Send{Aborted{m.Ref}})
	case m.Round == a.round && a.state == AgentDropping:
		a.ending = Aborted{m.Ref}
		return a.heard()
	case m.Round == a.round:
		a.stored = false // not to be told any more: the data may be discarded now
		return a.drop(Aborted{m.Ref})
	}
	// Not heard of yet: remember it, so that a Prepare which is still under way
	// does not start what has already ended.
	var effects []Effect
	if a.state != AgentIdle {
		effects = a.abandon()
	}
	*a = Agent{member: a.member, incarnation: a.incarnation, state: AgentIdle, round: m.Round, ref: m.Ref}
	return append(effects, Send{Aborted{m.Ref}})
}

// refuse ends the round here and tells the coordinator why, once nothing of it
// is left.
func (a *Agent) refuse(reasons ...snapline.Reason) []Effect {
	a.refusal = reasons
	return a.drop(Refused{Ref: a.ref, Reasons: reasons})
}

func (a *Agent) drop(then Message) []Effect {
	a.state, a.ending = AgentDropping, then
	var effects []Effect
	if then != nil { // else the snapshot exists, or may: others decide what becomes of the VM
		effects = a.heard()
	}
	return append(effects, Drop{a.round})
}

// heard ends the silence that the round began.
func (a *Agent) heard() []Effect {
	if !a.hushed {
		return nil
	}
	a.hushed = false
	return []Effect{Hush{Round: a.round}}
}

// abandon ends a round that a later one overtakes. The coordinator, a new one
// perhaps, hears that nothing is being written for it any more: it looked for
// remains to discard when this member may still have been storing.
func (a *Agent) abandon() []Effect {
	return append(a.heard(), Drop{a.round}, Send{Aborted{a.ref}})
}
