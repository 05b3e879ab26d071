package tcpsim_test

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/snapline/snapline/protocol/sim"
	"github.com/snapline/snapline/protocol/tcpsim"
)

var (
	seed      = flag.Uint64("seed", 0, "replay this one history and print the trace of its world")
	histories = flag.Int("histories", 800, "number of histories to run; with -short no more than 40")
	first     = flag.Uint64("first", 1, "seed of the first history; the others follow it")
)

// TestMain wants the stacks' workers to end with their histories.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// badNetwork takes part in every history: it loses, repeats and delays packets.
const badNetwork = "bad data network"

func options(v sim.Variant, with ...string) sim.Options {
	return sim.Options{Guests: tcpsim.New, Variant: v, With: append(with, badNetwork)}
}

// TestStreams takes and restores snapshots of members that talk TCP, and wants
// every stream whole and in order after each restore. On another machine, for a
// night:
//
//	go test ./protocol/tcpsim -run Streams -timeout 0 -histories 1000000 -first $RANDOM
func TestStreams(t *testing.T) {
	if *seed != 0 {
		replay(t, *seed)
		return
	}
	began := time.Now()
	n := *histories
	if testing.Short() {
		n = min(n, 40)
	}
	total, failed := explore(*first, n, options(sim.Variant{}), func(r sim.Report) bool { return len(r.Violations) > 0 })
	if failed != nil {
		replay(t, failed.Seed)
	}
	t.Logf("%d histories from seed %d in %v: %d rounds, %d committed, %d groups restored; %d packets, %d withheld, %d of an abandoned timeline kept out",
		total.Histories, *first, time.Since(began).Round(time.Millisecond), total.Rounds, total.Committed, total.Restored, total.Packets, total.Withheld, total.Quarantined)
	if total.Restored < 2*total.Histories || total.Withheld < total.Histories || total.Quarantined < total.Histories || total.Early == 0 || total.Leaks+total.Late == 0 {
		t.Errorf("these histories do not reach the places where a stream could break: %+v", total)
	}
}

// replay runs one history again, with its trace.
func replay(t *testing.T, seed uint64) {
	t.Helper()
	o := options(sim.Variant{})
	o.Trace = true
	r := sim.Run(seed, o)
	t.Logf("history %d: %s\n%s", seed, r.Plan, strings.Join(r.Trace, "\n"))
	for _, v := range r.Violations {
		t.Errorf("history %d: %s", seed, v)
	}
	if len(r.Violations) > 0 {
		t.Errorf("to see it again: go test ./protocol/tcpsim -run Streams -v -seed %d", seed)
	}
}

// explore runs histories on all processors until one is of the kind that is
// looked for, and returns the one of the lowest seed that was met.
func explore(first uint64, n int, o sim.Options, wanted func(sim.Report) bool) (sim.Stats, *sim.Report) {
	var (
		mu    sync.Mutex
		total = sim.NewStats()
		found *sim.Report
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
				r := sim.Run(first+i, o)
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

// TestReplay wants the same seed to give the same history, to the packet.
func TestReplay(t *testing.T) {
	o := options(sim.Variant{})
	for s := uint64(1); s <= 10; s++ {
		a := sim.Run(s, o)
		o.Trace = true
		b, c := sim.Run(s, o), sim.Run(s, o)
		o.Trace = false
		if strings.Join(b.Trace, "\n") != strings.Join(c.Trace, "\n") {
			t.Fatalf("seed %d gives two different histories", s)
		}
		if fmt.Sprint(a.Stats) != fmt.Sprint(b.Stats) {
			t.Fatalf("seed %d: the trace changes the history:\n%+v\n%+v", s, a.Stats, b.Stats)
		}
	}
}
