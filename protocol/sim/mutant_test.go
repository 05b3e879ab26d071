package sim

import (
	"slices"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// mutant is a wrong protocol and how soon the oracle must see an orphan in it.
type mutant struct {
	name  string
	seeds int
	make  func() Variant
}

// TestMutants wants the oracle to catch what must be wrong: an oracle that
// never finds an orphan proves nothing.
func TestMutants(t *testing.T) {
	for _, m := range []mutant{
		{"mark after resume", 2000, lateMark},
		{"no arm barrier and no witness", 2000, func() Variant { return both(noArmBarrier(), blind()) }},
		{"shield off before the instant and no witness", 2000, func() Variant { return both(earlyUnshield(), blind()) }},
		{"gate deadline too short", 4000, shortGate},
		{"leaks are ignored", 40000, blind},
		{"commit without disarmed", 40000, noDisarm},
		{"late instants are accepted", 40000, noRecheck},
		{"late members count as armed", 40000, noArmLimit},
		{"pause deadline too short", 4000, shortPause},
		{"barrier cut without its barrier", 2000, noPauseBarrier},
	} {
		t.Run(m.name, func(t *testing.T) {
			o := Options{Variant: m.make()}
			stats, found := explore(1, m.seeds, o, func(r Report) bool { return r.Stats.Orphans > 0 })
			if found == nil {
				t.Fatalf("no orphan in %d histories: %+v", stats.Histories, stats)
			}
			t.Logf("history %d: %s", found.Seed, found.Violations[len(found.Violations)-1])
		})
	}
}

// TestWitness wants the leak count alone to keep snapshots consistent where the
// shield comes too late or goes too early: two mistakes are needed for an
// orphan.
func TestWitness(t *testing.T) {
	for name, v := range map[string]Variant{"no arm barrier": noArmBarrier(), "shield off before the instant": earlyUnshield()} {
		stats, _ := explore(1, 2000, Options{Variant: v}, func(Report) bool { return false })
		t.Logf("%s: %d leaks refused", name, stats.Leaks)
		if stats.Orphans > 0 || stats.Leaks == 0 {
			t.Errorf("%s: %d orphans, %d leaks refused", name, stats.Orphans, stats.Leaks)
		}
	}
}

// both is one mistake upon the other.
func both(a, b Variant) Variant {
	if b.AgentEvent != nil {
		a.AgentEvent = b.AgentEvent
	}
	return a
}

// lateMark is the order of the authors' prototype: the mark goes on when the
// snapshot has been made.
func lateMark() Variant {
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

// earlyUnshield takes the shield down as soon as the mark is on.
func earlyUnshield() Variant {
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

// shortGate lets the kernel's rules end before the others must have cut.
func shortGate() Variant {
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

// shortPause lets the guard resume a paused VM before its snapshot.
func shortPause() Variant {
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

// blind ignores what leaked before the shield was up.
func blind() Variant {
	return Variant{AgentEvent: func(_ *host, ev *protocol.Event) {
		if s, ok := ev.Input.(protocol.Snapped); ok {
			s.Leaked = 0
			ev.Input = s
		}
	}}
}

// noRecheck does not look at the clock again once the snapshot has been made.
func noRecheck() Variant {
	return Variant{AgentEvent: func(h *host, ev *protocol.Event) {
		if _, ok := ev.Input.(protocol.Snapped); ok {
			ev.At = h.armed
		}
	}}
}

// noArmLimit waits for Armed, and then for the cut, as long as it takes.
func noArmLimit() Variant {
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

// noArmBarrier takes every member for armed as soon as Arm is sent.
func noArmBarrier() Variant { return forge(snapline.Colour) }

// noPauseBarrier does the same in the barrier cut.
func noPauseBarrier() Variant { return forge(snapline.Barrier) }

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

// noDisarm does not wait for the proof that every gate stood until all had cut:
// it takes CutDone for Disarmed, and asks nobody. A member may then cut, store,
// and lose its gate with its agent while another one has yet to cut.
func noDisarm() Variant {
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
