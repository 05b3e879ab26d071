package tcpsim_test

import (
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol/sim"
)

// TestMutants wants each wrong protocol to break a stream, before the given
// number of histories is over: bytes are lost for ever, for their sender's state
// holds them as acknowledged, or a member has got bytes that nobody wrote.
//
// Of the mutants that package sim catches, three need a coincidence that takes
// more histories than real stacks allow (commit without disarmed, late instants
// accepted, late members counted as armed).
func TestMutants(t *testing.T) {
	for _, m := range []struct {
		name    string
		seeds   int
		variant sim.Variant
		cut     snapline.Strategy
		with    []string // what makes it likely
	}{
		{"mark after resume", 40, sim.LateMark(), snapline.Colour, nil},
		{"no arm barrier and no witness", 40, sim.Both(sim.NoArmBarrier(), sim.Blind()), snapline.Colour, []string{"slow member", "delay"}},
		{"shield off before the instant and no witness", 40, sim.Both(sim.EarlyUnshield(), sim.Blind()), snapline.Colour, nil},
		{"gate deadline too short", 100, sim.ShortGate(), snapline.Colour, []string{"slow snapshot"}},
		{"leaks are ignored", 40, sim.Blind(), snapline.Colour, []string{"foreign post", "delay"}},
		{"pause deadline too short", 100, sim.ShortPause(), snapline.Barrier, []string{"slow member"}},
		{"barrier cut without its barrier", 100, sim.NoPauseBarrier(), snapline.Barrier, []string{"slow member", "delay"}},
		{"restore without quarantine", 40, sim.Variant{NoQuarantine: true}, "", nil},
		{"rules kept in the snapshot", 10, sim.Variant{KeptRules: true}, "", nil},
	} {
		t.Run(m.name, func(t *testing.T) {
			o := options(m.variant, m.with...)
			o.Cut, o.Loud = m.cut, true
			stats, found := explore(1, m.seeds, o, broken)
			if found == nil {
				t.Fatalf("no stream broke in %d histories: %+v", stats.Histories, stats)
			}
			t.Logf("history %d: %s", found.Seed, strings.Join(found.Guests, "; "))
		})
	}
}

func broken(r sim.Report) bool { return len(r.Guests) > 0 }

// TestWitness wants every stream whole where only the order of shield and
// instant is wrong: what leaks is counted, and refuses the round.
func TestWitness(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred histories")
	}
	for name, v := range map[string]sim.Variant{"no arm barrier": sim.NoArmBarrier(), "shield off before the instant": sim.EarlyUnshield()} {
		o := options(v, "slow member")
		o.Loud = true
		stats, found := explore(1, 50, o, broken)
		t.Logf("%s: %d rounds refused for a leak, %d groups restored", name, stats.Leaks, stats.Restored)
		if found != nil {
			t.Errorf("%s: history %d: %s", name, found.Seed, strings.Join(found.Guests, "; "))
		}
		if stats.Leaks == 0 {
			t.Errorf("%s: nothing leaked", name)
		}
	}
}
