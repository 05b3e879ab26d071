package explore

import (
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// TestMutants wants every wrong protocol to be caught, and prints a shortest way
// to its orphan. A mutant is explored from where all members are prepared, or armed,
// with the trouble that it needs and no other.
func TestMutants(t *testing.T) {
	for _, m := range []struct {
		name   string
		config Config
		make   Variant
	}{
		{"mark after resume", Config{Timeless: true}, lateMark()},
		{"no arm barrier and no witness", Config{Timeless: true}, both(noArmBarrier(), blind())},
		{"shield off before the instant and no witness", Config{Timeless: true}, both(earlyUnshield(), blind())},
		{"gate deadline too short", Config{From: protocol.PhaseCut}, shortGate()},
		{"leaks are ignored", Config{Foreign: true, Timeless: true}, blind()},
		{"commit without disarmed", Config{Crashes: 1, Timeless: true}, noDisarm()},
		{"late instants are accepted", Config{From: protocol.PhaseCut}, noRecheck()},
		{"late members count as armed", Config{Foreign: true}, noArmLimit()},
		{"pause deadline too short", Config{Strategy: snapline.Barrier}, shortPause()},
		{"barrier cut without its barrier", Config{Strategy: snapline.Barrier, Timeless: true}, noArmBarrier()},
	} {
		t.Run(m.name, func(t *testing.T) {
			c := m.config
			if testing.Short() && !c.Timeless {
				t.Skip("needs time, and so a large space: run without -short")
			}
			c.Members, c.Settle, c.RecordsOnly, c.Variant = 2, true, true, m.make
			if c.From == "" {
				c.From = protocol.PhaseArm
			}
			if c.Strategy == "" {
				c.Strategy = snapline.Colour
			}
			r := Run(c)
			if !strings.HasPrefix(r.Fault, "orphan") {
				t.Fatalf("no orphan in %d states (complete: %v), but %q\n%s", r.States, r.Complete, r.Fault, strings.Join(r.Trace, "\n"))
			}
			t.Logf("%d states: %s\n%s", r.States, r.Fault, strings.Join(r.Trace, "\n"))
		})
	}
}

// both is one mistake upon the other.
func both(a, b Variant) Variant { a.AgentEvent = b.AgentEvent; return a }

// lateMark turns the mark on when the snapshot has been made.
func lateMark() Variant {
	return gates(func(r *snapline.GateRules) {
		if r.ShieldUntil != snapline.Never {
			r.MarkUntil = snapline.Never
		}
	})
}

// earlyUnshield takes the shield down as soon as the mark is on.
func earlyUnshield() Variant {
	return gates(func(r *snapline.GateRules) {
		if r.MarkUntil != snapline.Never {
			r.ShieldUntil = snapline.Never
		}
	})
}

// shortGate lets the kernel's rules end before the others must have cut.
func shortGate() Variant {
	return gates(func(r *snapline.GateRules) {
		if r.MarkUntil != snapline.Never {
			r.MarkUntil = r.MarkUntil.Add(-deadlines().Gate * 9 / 10)
		}
	})
}

func gates(change func(*snapline.GateRules)) Variant {
	return Variant{AgentEffect: func(e protocol.Effect) protocol.Effect {
		if g, ok := e.(protocol.SetGate); ok {
			change(&g.Rules)
			return g
		}
		return e
	}}
}

// shortPause lets the guard resume a paused VM before its snapshot.
func shortPause() Variant {
	return Variant{AgentEffect: func(e protocol.Effect) protocol.Effect {
		if p, ok := e.(protocol.PauseVM); ok {
			p.AtMost /= 20
			return p
		}
		return e
	}}
}

// blind ignores what leaked before the shield was up.
func blind() Variant {
	return Variant{AgentEvent: func(_ snapline.Instant, ev *protocol.Event) {
		if s, ok := ev.Input.(protocol.Snapped); ok {
			s.Leaked = 0
			ev.Input = s
		}
	}}
}

// noRecheck does not look at the clock again once the snapshot has been made.
func noRecheck() Variant {
	return Variant{AgentEvent: func(armed snapline.Instant, ev *protocol.Event) {
		if _, ok := ev.Input.(protocol.Snapped); ok {
			ev.At = armed
		}
	}}
}

// noArmLimit waits for Armed, and then for the cut, as long as it takes.
func noArmLimit() Variant {
	return Variant{
		CoordinatorEvent: func(ev *protocol.Event) {
			if r, ok := ev.Input.(protocol.Received); ok {
				if _, ok := r.Msg.(protocol.Armed); ok {
					ev.At = snapline.Never
				}
			}
		},
		Coordinator: func(_ *protocol.Coordinator, _ snapline.Instant, effects []protocol.Effect) []protocol.Effect {
			return slices.DeleteFunc(effects, func(e protocol.Effect) bool {
				t, ok := e.(protocol.SetTimer)
				return ok && (t.Timer.Name == protocol.TimerArm || t.Timer.Name == protocol.TimerCut)
			})
		},
	}
}

// noArmBarrier takes every member for armed as soon as Arm is sent.
func noArmBarrier() Variant {
	return Variant{Coordinator: func(c *protocol.Coordinator, at snapline.Instant, effects []protocol.Effect) []protocol.Effect {
		for _, e := range effects {
			if arm, ok := message(e).(protocol.Arm); ok {
				effects = append(effects, c.Step(protocol.Event{At: at, Input: protocol.Received{Msg: protocol.Armed{Ref: arm.Ref}}})...)
			}
		}
		return effects
	}}
}

// noDisarm takes CutDone for the proof that every gate stood until all had cut.
func noDisarm() Variant {
	return Variant{Coordinator: func(c *protocol.Coordinator, at snapline.Instant, effects []protocol.Effect) []protocol.Effect {
		for i := 0; i < len(effects); i++ {
			if d, ok := message(effects[i]).(protocol.Disarm); ok {
				effects = slices.Delete(effects, i, i+1)
				i--
				effects = append(effects, c.Step(protocol.Event{At: at, Input: protocol.Received{Msg: protocol.Disarmed{Ref: d.Ref}}})...)
			}
		}
		return effects
	}}
}
