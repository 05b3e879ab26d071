package evidence_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline/evidence"
)

func worlds(t *testing.T) uint64 {
	if testing.Short() {
		return 100
	}
	return 1000
}

// TestMatcherKnowsTheTruth compares every count with what happened, in worlds
// where the protocol is kept and no two packets look the same.
func TestMatcherKnowsTheTruth(t *testing.T) {
	unproven := 0
	for seed := range worlds(t) {
		w := newWorld(seed, worldOptions{plain: true})
		got := evidence.Match(w.group(), w.traces()).Verdict
		want := w.truth()
		if n := w.orphans(); n > 0 {
			t.Fatalf("world %d: the simulated protocol made %d orphans", seed, n)
		}
		if got.State == evidence.Inconsistent || got.State == evidence.Unproven && got.Unexplained+got.Ambiguous == 0 {
			t.Fatalf("world %d: %v %+v", seed, got, got)
		}
		if got.State == evidence.Unproven {
			unproven++
		}
		got.Before += got.Unmatched
		got.State, got.Reasons, got.Unmatched, got.Unexplained, got.Ambiguous, got.Flows = "", nil, 0, 0, 0, 0
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("world %d (-truth +verdict):\n%s", seed, d)
		}
	}
	t.Logf("%d of %d worlds unproven", unproven, worlds(t))
	if unproven > int(worlds(t)/10) {
		t.Errorf("%d of %d right cuts could not be proven", unproven, worlds(t))
	}
}

// TestBrokenProtocolIsNeverConsistent breaks the protocol or the recorder, in
// worlds with messages that look the same and with false addresses.
func TestBrokenProtocolIsNeverConsistent(t *testing.T) {
	for _, c := range []struct {
		name string
		o    worldOptions
	}{
		{"right", worldOptions{}},
		{"no shield", worldOptions{noShield: true}},
		{"mark after resume", worldOptions{lateMark: true}},
		{"no mark", worldOptions{noMark: true}},
		{"gate dies", worldOptions{deadGate: true}},
		{"no shield, sendings hidden", worldOptions{noShield: true, hideSendings: true}},
		{"no mark, sendings hidden", worldOptions{noMark: true, hideSendings: true}},
		{"no mark, and no sending recorded", worldOptions{mute: true}},
		{"records lost", worldOptions{loseRecords: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			states := map[evidence.State]int{}
			broken := 0
			for seed := range worlds(t) / 2 {
				w := newWorld(seed, c.o)
				v := evidence.Match(w.group(), w.traces()).Verdict
				states[v.State]++
				orphans := w.orphans()
				if orphans > 0 {
					broken++
				}
				if v.State == evidence.Consistent && orphans > 0 {
					t.Fatalf("world %d has %d orphans: %v %+v", seed, orphans, v, v)
				}
				if v.State == evidence.Inconsistent && len(v.Named) == 0 {
					t.Fatalf("world %d: orphans without names", seed)
				}
				if c.o == (worldOptions{}) && v.State == evidence.Inconsistent {
					t.Fatalf("world %d keeps the protocol: %v %+v", seed, v, v)
				}
				if c.o.loseRecords && v.State == evidence.Consistent {
					t.Fatalf("world %d lost records: %v", seed, v)
				}
			}
			t.Logf("%d worlds with orphans; verdicts %v", broken, states)
			if mutant := c.o != (worldOptions{}) && !c.o.loseRecords; mutant && broken < int(worlds(t)/6) {
				t.Errorf("only %d worlds have orphans: the sabotage does not work", broken)
			}
		})
	}
}
