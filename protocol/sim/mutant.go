package sim

import (
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// Both is one mistake upon the other.
func Both(a, b Variant) Variant {
	if b.AgentEvent != nil {
		a.AgentEvent = b.AgentEvent
	}
	return a
}

// LateMark is the order of the authors' prototype: the mark goes on when the
// snapshot has been made.
func LateMark() Variant {
	return Variant{AgentEffects: func(_ *host, _ protocol.Event, effects []protocol.Effect) []protocol.Effect {
		return each(effects, func(e protocol.Effect) []protocol.Effect {
			if g, ok := e.(protocol.SetGate); ok && g.Rules.ShieldUntil != snapline.Never {
				g.Rules.MarkUntil = snapline.Never
				return []protocol.Effect{g}
			}
			return []protocol.Effect{e}
		})
	}}
}

// EarlyUnshield takes the shield down as soon as the mark is on.
func EarlyUnshield() Variant {
	return Variant{AgentEffects: func(_ *host, _ protocol.Event, effects []protocol.Effect) []protocol.Effect {
		return each(effects, func(e protocol.Effect) []protocol.Effect {
			if g, ok := e.(protocol.SetGate); ok && g.Rules.MarkUntil != snapline.Never {
				g.Rules.ShieldUntil = snapline.Never
				return []protocol.Effect{g}
			}
			return []protocol.Effect{e}
		})
	}}
}

// ShortGate lets the kernel's rules end before the others must have cut.
func ShortGate() Variant {
	return Variant{AgentEffects: func(h *host, _ protocol.Event, effects []protocol.Effect) []protocol.Effect {
		return each(effects, func(e protocol.Effect) []protocol.Effect {
			if g, ok := e.(protocol.SetGate); ok {
				early := h.w.deadlines.Gate * 9 / 10
				if g.Rules.MarkUntil != snapline.Never {
					g.Rules.MarkUntil = g.Rules.MarkUntil.Add(-early)
				}
				return []protocol.Effect{g}
			}
			return []protocol.Effect{e}
		})
	}}
}

// ShortPause lets the guard resume a paused VM before its snapshot.
func ShortPause() Variant {
	return Variant{AgentEffects: func(_ *host, _ protocol.Event, effects []protocol.Effect) []protocol.Effect {
		return each(effects, func(e protocol.Effect) []protocol.Effect {
			if p, ok := e.(protocol.PauseVM); ok {
				p.AtMost /= 20
				return []protocol.Effect{p}
			}
			return []protocol.Effect{e}
		})
	}}
}

// LateHush silences a VM when its snapshot has been made.
func LateHush() Variant {
	return Variant{AgentEffects: func(h *host, ev protocol.Event, effects []protocol.Effect) []protocol.Effect {
		effects = each(effects, func(e protocol.Effect) []protocol.Effect {
			if s, ok := e.(protocol.Hush); ok && s.Until != snapline.Never {
				h.late = e
				return nil
			}
			return []protocol.Effect{e}
		})
		if _, ok := ev.Input.(protocol.Snapped); ok && h.late != nil {
			effects = append([]protocol.Effect{h.late}, effects...)
			h.late = nil
		}
		return effects
	}}
}

// Blind ignores what leaked before the shield was up.
func Blind() Variant {
	return Variant{AgentEvent: func(_ *host, ev *protocol.Event) {
		if s, ok := ev.Input.(protocol.Snapped); ok {
			s.Leaked = 0
			ev.Input = s
		}
	}}
}

// NoRecheck does not look at the clock again once the snapshot has been made.
func NoRecheck() Variant {
	return Variant{AgentEvent: func(h *host, ev *protocol.Event) {
		if _, ok := ev.Input.(protocol.Snapped); ok {
			ev.At = h.armed
		}
	}}
}

// NoArmLimit waits for Armed, and then for the cut, as long as it takes.
func NoArmLimit() Variant {
	return Variant{
		CoordinatorEvent: func(_ *coordinator, ev *protocol.Event) {
			if r, ok := ev.Input.(protocol.Received); ok {
				if _, ok := r.Msg.(protocol.Armed); ok {
					ev.At = snapline.Never
				}
			}
		},
		Coordinator: func(_ *coordinator, _ protocol.Event, effects []protocol.Effect) []protocol.Effect {
			return slices.DeleteFunc(effects, func(e protocol.Effect) bool {
				t, ok := e.(protocol.SetTimer)
				return ok && (t.Timer.Name == protocol.TimerArm || t.Timer.Name == protocol.TimerCut)
			})
		},
	}
}

// NoArmBarrier takes every member for armed as soon as Arm is sent.
func NoArmBarrier() Variant { return forge(snapline.Colour) }

// NoPauseBarrier does the same in the barrier cut.
func NoPauseBarrier() Variant { return forge(snapline.Barrier) }

func forge(s snapline.Strategy) Variant {
	return Variant{Coordinator: func(c *coordinator, ev protocol.Event, effects []protocol.Effect) []protocol.Effect {
		if c.strategy != s {
			return effects
		}
		for _, e := range effects {
			if arm, ok := message(e).(protocol.Arm); ok {
				effects = append(effects, c.machine.Step(protocol.Event{At: ev.At, Input: protocol.Received{Msg: protocol.Armed{Ref: arm.Ref}}})...)
			}
		}
		return effects
	}}
}

// NoDisarm does not wait for the proof that every gate stood until all had cut:
// it takes CutDone for Disarmed, and asks nobody. A member may then cut, store,
// and lose its gate with its agent while another one has yet to cut.
func NoDisarm() Variant {
	return Variant{Coordinator: func(c *coordinator, ev protocol.Event, effects []protocol.Effect) []protocol.Effect {
		for i := 0; i < len(effects); i++ {
			if d, ok := message(effects[i]).(protocol.Disarm); ok {
				effects = slices.Delete(effects, i, i+1)
				i--
				effects = append(effects, c.machine.Step(protocol.Event{At: ev.At, Input: protocol.Received{Msg: protocol.Disarmed{Ref: d.Ref}}})...)
			}
		}
		return effects
	}}
}

func message(e protocol.Effect) protocol.Message {
	if s, ok := e.(protocol.Send); ok {
		return s.Msg
	}
	return nil
}

func each(effects []protocol.Effect, f func(protocol.Effect) []protocol.Effect) []protocol.Effect {
	var out []protocol.Effect
	for _, e := range effects {
		out = append(out, f(e)...)
	}
	return out
}
