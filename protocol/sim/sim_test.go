package sim

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline/protocol"
)

var (
	seed      = flag.Uint64("seed", 0, "replay this one history and print the trace of its world")
	histories = flag.Int("histories", 100_000, "number of histories to run; with -short no more than 5,000")
	first     = flag.Uint64("first", 1, "seed of the first history; the others follow it")
)

// TestHistories runs many histories and wants no violation in any. On another
// machine, for a night:
//
//	go test ./protocol/sim -run Histories -timeout 0 -histories 10000000 -first $RANDOM
func TestHistories(t *testing.T) {
	if *seed != 0 {
		replay(t, *seed, Options{})
		return
	}
	began := time.Now()
	n := *histories
	if testing.Short() {
		n = min(n, 5_000)
	}
	total, failed := explore(*first, n, Options{}, violated)
	if failed != nil {
		replay(t, failed.Seed, Options{})
	}
	t.Logf("%d histories in %v: %+v", total.Histories, time.Since(began).Round(time.Millisecond), total)
	if n >= 2000 {
		notVacuous(t, total)
	}
}

func violated(r Report) bool { return len(r.Violations) > 0 }

// explore runs histories on all processors until one is of the kind that is
// looked for, and returns the one of the lowest seed that was met.
func explore(first uint64, n int, o Options, wanted func(Report) bool) (Stats, *Report) {
	var (
		mu    sync.Mutex
		total = NewStats()
		found *Report
		next  atomic.Uint64
		over  atomic.Bool
		group sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for !over.Load() {
				i := next.Add(1) - 1
				if i >= uint64(n) {
					return
				}
				r := Run(first+i, o)
				mu.Lock()
				total.Add(r.Stats)
				if wanted(r) {
					over.Store(true)
					if found == nil || r.Seed < found.Seed {
						found = &r
					}
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return total, found
}

// replay runs one history again, with its trace.
func replay(t *testing.T, seed uint64, o Options) {
	t.Helper()
	o.Trace = true
	r := Run(seed, o)
	t.Logf("history %d: %s\n%s", seed, r.Plan, strings.Join(r.Trace, "\n"))
	for _, v := range r.Violations {
		t.Errorf("history %d: %s", seed, v)
	}
	if len(r.Violations) > 0 {
		t.Errorf("to see it again: go test ./protocol/sim -run 'Histories$' -v -seed %d", seed)
	}
}

// notVacuous wants the histories to have been where it hurts.
func notVacuous(t *testing.T, s Stats) {
	t.Helper()
	if ratio := float64(s.Committed-s.CalmCommitted) / float64(s.Rounds-s.Calm); ratio < 0.4 || ratio > 0.8 {
		t.Errorf("%.0f %% of the rounds in the storm committed: it is too strong or too weak", 100*ratio)
	}
	want := map[string]int{"withheld packets": s.Withheld, "early cuts": s.Early, "refusals for a leak": s.Leaks,
		"refusals past Dc": s.Late, "pauses ended by the guard": s.Guarded, "members lost": s.Lost, "failed effects": s.Failures,
		"silences": s.Hushed}
	for _, p := range []protocol.Phase{protocol.PhasePrepare, protocol.PhaseProbe, protocol.PhaseArm, protocol.PhaseCut,
		protocol.PhaseDisarm, protocol.PhaseStore, protocol.PhaseCommit} {
		want["aborts in phase "+string(p)] = s.Aborts[p]
		want["coordinator crashes in phase "+string(p)] = s.CoordinatorCrashes[p]
	}
	for _, a := range []protocol.AgentState{protocol.AgentChecking, protocol.AgentReady, protocol.AgentPausing, protocol.AgentArmed,
		protocol.AgentCutting, protocol.AgentMarked, protocol.AgentOpen, protocol.AgentDropping} {
		want["agent crashes while "+string(a)] = s.Crashes[a]
	}
	for what, n := range want {
		if n < s.Histories/2000 {
			t.Errorf("only %d %s in %d histories", n, what, s.Histories)
		}
	}
}

// TestReplay wants the same seed to give the same history to the letter.
func TestReplay(t *testing.T) {
	for s := uint64(1); s <= 50; s++ {
		a, b := Run(s, Options{Trace: true}), Run(s, Options{Trace: true})
		if strings.Join(a.Trace, "\n") != strings.Join(b.Trace, "\n") {
			t.Fatalf("seed %d gives two different histories", s)
		}
		if c := Run(s, Options{}); fmt.Sprint(c.Stats) != fmt.Sprint(a.Stats) {
			t.Fatalf("seed %d: the trace changes the history", s)
		}
	}
}
