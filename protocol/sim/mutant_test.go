package sim

import "testing"

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
		{"mark after resume", 2000, LateMark},
		{"no arm barrier and no witness", 2000, func() Variant { return Both(NoArmBarrier(), Blind()) }},
		{"shield off before the instant and no witness", 2000, func() Variant { return Both(EarlyUnshield(), Blind()) }},
		{"gate deadline too short", 4000, ShortGate},
		{"leaks are ignored", 40000, Blind},
		{"commit without disarmed", 40000, NoDisarm},
		{"late instants are accepted", 40000, NoRecheck},
		{"late members count as armed", 40000, NoArmLimit},
		{"pause deadline too short", 4000, ShortPause},
		{"barrier cut without its barrier", 2000, NoPauseBarrier},
	} {
		t.Run(m.name, func(t *testing.T) {
			o := Options{Variant: m.make(), Loud: true}
			stats, found := explore(1, m.seeds, o, func(r Report) bool { return r.Stats.Orphans > 0 })
			if found == nil {
				t.Fatalf("no orphan in %d histories: %+v", stats.Histories, stats)
			}
			t.Logf("history %d: %s", found.Seed, found.Violations[len(found.Violations)-1])
		})
	}
}

// TestLateHush wants the oracle to hear what leaves after the cut of a group that
// was to be silent.
func TestLateHush(t *testing.T) {
	stats, found := explore(1, 2000, Options{Variant: LateHush()}, func(r Report) bool { return r.Stats.Heard > 0 })
	if found == nil {
		t.Fatalf("nobody was heard in %d histories: %+v", stats.Histories, stats)
	}
	t.Logf("history %d: %s", found.Seed, found.Violations[len(found.Violations)-1])
}

// TestWitness wants the leak count alone to keep snapshots consistent where the
// shield comes too late or goes too early: two mistakes are needed for an
// orphan.
func TestWitness(t *testing.T) {
	for name, v := range map[string]Variant{"no arm barrier": NoArmBarrier(), "shield off before the instant": EarlyUnshield()} {
		stats, _ := explore(1, 2000, Options{Variant: v, Loud: true}, func(Report) bool { return false })
		t.Logf("%s: %d leaks refused", name, stats.Leaks)
		if stats.Orphans > 0 || stats.Leaks == 0 {
			t.Errorf("%s: %d orphans, %d leaks refused", name, stats.Orphans, stats.Leaks)
		}
	}
}
