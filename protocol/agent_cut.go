package protocol

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
)

// HushSpan is for how long a member is silenced at a time: so long it is not heard
// when everybody is gone who could let it speak.
const HushSpan = 10 * time.Second

func (a *Agent) arm(now snapline.Instant, silence time.Duration) []Effect {
	switch a.state {
	case AgentReady:
	case AgentArmed, AgentCutting, AgentMarked, AgentOpen:
		return []Effect{Send{Armed{a.ref}}}
	default:
		return nil
	}
	// Both deadlines count from before the shield goes up, so that they err
	// towards refusing.
	a.cutBy = now.Add(a.spec.Deadlines.Cut)
	a.gateBy = now.Add(a.spec.Deadlines.Gate)
	effects := []Effect{SetTimer{Timer{a.round, TimerGate}, a.gateBy}}
	if silence > 0 {
		// Before this member's cut, so all that anybody has heard is in its state.
		a.hushed = true
		effects = append(effects, Hush{a.round, now.Add(min(silence, HushSpan))})
	}
	if a.spec.Strategy == snapline.Barrier {
		a.state = AgentPausing
		return append(effects, PauseVM{Round: a.round, AtMost: a.spec.Deadlines.Gate})
	}
	a.state = AgentArmed
	return append(effects, SetGate{a.round, snapline.GateRules{ShieldUntil: a.gateBy}}, Send{Armed{a.ref}})
}

// cut begins the local snapshot. The mark goes on first: a packet marked early
// is at worst withheld, one marked late would be an orphan.
func (a *Agent) cut(now snapline.Instant) []Effect {
	if now > a.cutBy {
		return a.refuse(a.late())
	}
	a.state = AgentCutting
	if a.spec.Strategy == snapline.Barrier {
		return []Effect{Snap{a.round}}
	}
	return []Effect{SetGate{a.round, snapline.GateRules{MarkUntil: a.gateBy, ShieldUntil: a.gateBy}}, Snap{a.round}}
}

func (a *Agent) snapped(now snapline.Instant, in Snapped) []Effect {
	if in.Round != a.round || a.state != AgentCutting {
		return nil
	}
	if now > a.cutBy {
		return a.refuse(a.late())
	}
	if in.Leaked > 0 {
		return a.refuse(snapline.Reason{Member: a.member,
			Text: fmt.Sprintf("%d packets with codepoint 0x%02x reached the VM before its shield was up", in.Leaked, uint8(a.spec.Post)),
			Hint: "something in the group's network uses this codepoint itself: choose another with --codepoint, or use --cut barrier"})
	}
	a.state, a.cutAt, a.report = AgentMarked, now, in.Report
	effects := []Effect{}
	if a.spec.Strategy != snapline.Barrier {
		effects = append(effects, SetGate{a.round, snapline.GateRules{MarkUntil: a.gateBy}})
	} else {
		a.gateDown = true // there was none
	}
	return append(effects, Send{a.cutDone(now)}, Store{Round: a.round, Group: a.ref.Group})
}

func (a *Agent) late() snapline.Reason {
	return snapline.Reason{Member: a.member,
		Text: fmt.Sprintf("did not cut within %v of being armed", a.spec.Deadlines.Cut),
		Hint: "the host is overloaded or was suspended; take again"}
}

func (a *Agent) cutDone(now snapline.Instant) CutDone {
	return CutDone{Ref: a.ref, Report: a.report, AgoNS: int64(now.Sub(a.cutAt))}
}

func (a *Agent) gateClosed(in GateClosed) []Effect {
	if in.Round != a.round || a.state != AgentMarked {
		return nil
	}
	a.state, a.gateDown, a.counters = AgentOpen, true, in.Counters
	return []Effect{Send{Disarmed{Ref: a.ref, Counters: a.counters}}}
}

func (a *Agent) kept(now snapline.Instant, in Kept) []Effect {
	if in.Round != a.round || a.idleOrDropping() {
		return nil
	}
	a.stored, a.part = true, in.Part
	a.release = now.Add(releaseAfter)
	return append(a.sendStored(now), SetTimer{Timer{a.round, TimerRelease}, a.release})
}

func (a *Agent) sendStored(now snapline.Instant) []Effect {
	return []Effect{Send{Stored{Ref: a.ref, Part: a.part}}, SetTimer{Timer{a.round, TimerResend}, now.Add(storedResend)}}
}
