package protocol

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
)

// RestoreAgent is one host's side of a restore.
type RestoreAgent struct {
	host  snapline.HostName
	life  snapline.Incarnation
	plan  PlanRestore
	done  RestorePhase // the phase that has been completed last
	busy  RestorePhase // the phase under way, or ""
	last  RestoreMessage
	since snapline.Instant // when the members were resumed
	// coloured is the coordinator's word, see LoadMembers.
	coloured bool
}

// NewRestoreAgent returns the machine of one host in one life of its agent.
func NewRestoreAgent(h snapline.HostName, life snapline.Incarnation) *RestoreAgent {
	return &RestoreAgent{host: h, life: life}
}

// next says which phase may follow which; a request out of order is stale.
var next = map[RestorePhase]RestorePhase{RestoreStop: RestorePlan, RestoreLoad: RestoreStop, RestoreOpen: RestoreLoad, RestoreReplay: RestoreOpen}

// Step takes one event and returns what is to be done, in order.
func (a *RestoreAgent) Step(ev Event) []Effect {
	switch in := ev.Input.(type) {
	case RestoreReceived:
		return a.receive(ev.At, in.Msg)
	case Acted:
		if in.Op != a.plan.Op || in.Phase != a.busy {
			return nil
		}
		return a.acted(ev.At, in)
	}
	panic(fmt.Sprintf("protocol: restore agent: unknown input %T", ev.Input))
}

func (a *RestoreAgent) receive(now snapline.Instant, msg RestoreMessage) []Effect {
	ref := msg.AboutRestore()
	if ref.Host != a.host {
		return nil
	}
	if p, ok := msg.(PlanRestore); ok {
		if p.Op != a.plan.Op {
			if a.busy != "" { // of an older operation whose coordinator is gone
				return nil // asked again in a second
			}
			*a = RestoreAgent{host: a.host, life: a.life, plan: p}
		}
		return a.act(now, RestorePlan)
	}
	if ref.Op != a.plan.Op || ref.Incarnation != a.life {
		ref.Incarnation = a.life
		return []Effect{RestoreSend{Msg: RestoreFailed{RestoreRef: ref, Reasons: []snapline.Reason{{Text: "the agent was restarted during the restore"}}}}}
	}
	switch m := msg.(type) {
	case StopMembers:
		return a.act(now, RestoreStop)
	case LoadMembers:
		a.coloured = m.Coloured
		return a.act(now, RestoreLoad)
	case OpenMembers:
		return a.act(now, RestoreOpen)
	case ReplayChannel:
		return a.act(now, RestoreReplay)
	case UndoRestore:
		return a.act(now, RestoreUndo)
	}
	return nil
}

// act begins a phase, or repeats its answer when it is done already.
func (a *RestoreAgent) act(now snapline.Instant, p RestorePhase) []Effect {
	switch {
	case a.busy != "":
		return nil // answered when it is done; the coordinator asks again
	case a.done == p:
		if o, ok := a.last.(Opened); ok {
			o.AgoNS = int64(now.Sub(a.since))
			a.last = o
		}
		return []Effect{RestoreSend{Msg: a.last}}
	case p == RestorePlan && a.done != "":
		return []Effect{RestoreSend{Msg: a.last}} // planning again would set the host back
	case p != RestorePlan && p != RestoreUndo && a.done != next[p]:
		return nil
	}
	a.busy = p
	return []Effect{Act{Op: a.plan.Op, Phase: p, Plan: a.plan, Coloured: p == RestoreLoad && a.coloured}}
}

func (a *RestoreAgent) acted(now snapline.Instant, in Acted) []Effect {
	ref := RestoreRef{Op: a.plan.Op, Host: a.host, Incarnation: a.life}
	a.busy = ""
	if len(in.Reasons) > 0 && in.Phase != RestorePlan {
		failed := RestoreFailed{ref, in.Reasons}
		if in.Phase == RestoreReplay {
			// Some packets may have been delivered. Asked again, it must not do it again.
			a.done, a.last = in.Phase, failed
		}
		return []Effect{RestoreSend{Msg: failed}}
	}
	a.done = in.Phase
	switch in.Phase {
	case RestorePlan:
		a.last = Planned{ref, in.Reasons}
	case RestoreStop:
		a.last = Stopped{ref, in.Coloured, in.Silent}
	case RestoreLoad:
		a.last = Loaded{ref, in.LoadMS}
	case RestoreOpen:
		a.since = now.Add(-time.Duration(in.AgoNS))
		a.last = Opened{ref, in.AgoNS}
	case RestoreReplay:
		a.last = Replayed{ref, in.Packets}
	case RestoreUndo:
		a.last = Undone{ref}
	}
	return []Effect{RestoreSend{Msg: a.last}}
}
