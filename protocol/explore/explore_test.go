package explore

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

var deep = flag.Int("deep", 0, "also explore the largest spaces, up to this many states each")

// TestRound wants every state of the real protocol to be a good one. What each
// space leaves out is said by its Config.
func TestRound(t *testing.T) {
	for _, c := range []struct {
		name   string
		short  bool
		config Config
	}{
		{"two members, nothing goes wrong", true, Config{Members: 2, Timeless: true}},
		{"two members, barrier cut, nothing goes wrong", true, Config{Members: 2, Strategy: snapline.Barrier, Timeless: true}},
		{"two members, one crash and one message", false, Config{Members: 2, Timeless: true, Crashes: 1, Letters: 1}},
		{"two members, barrier cut, one crash and one message", false, Config{Members: 2, Strategy: snapline.Barrier, Timeless: true, Crashes: 1, Letters: 1}},
		{"two members from Arm on, every deadline", false, Config{Members: 2, From: protocol.PhaseArm, Settle: true}},
		{"three members, nothing goes wrong", false, Config{Members: 3, Timeless: true}},
		{"three members from Arm on, one crash", false, Config{Members: 3, From: protocol.PhaseArm, Settle: true, Timeless: true, Crashes: 1}},
		{"three members from Arm on, one message lost or repeated", false, Config{Members: 3, From: protocol.PhaseArm, Settle: true, Timeless: true, Letters: 1}},
		{"three members from Arm on, barrier cut, one crash and one message", false, Config{Members: 3, Strategy: snapline.Barrier, From: protocol.PhaseArm, Settle: true, Timeless: true, Crashes: 1, Letters: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && !c.short {
				t.Skip("a large space: run without -short")
			}
			wantGood(t, c.config, true)
		})
	}
}

// TestDeep explores what takes minutes and gigabytes, as far as -deep allows.
func TestDeep(t *testing.T) {
	if *deep == 0 {
		t.Skip("takes minutes: give a number of states with -deep")
	}
	for name, c := range map[string]Config{
		"two members, every deadline, one crash":   {Members: 2, From: protocol.PhaseArm, Settle: true, Crashes: 1},
		"two members, one failing effect":          {Members: 2, Timeless: true, Failures: 1},
		"two members, foreign marks":               {Members: 2, From: protocol.PhaseArm, Settle: true, Foreign: true},
		"two members, pinned gates, one crash":     {Members: 2, Timeless: true, Crashes: 1, Pinned: true},
		"three members, whole round, one crash":    {Members: 3, Timeless: true, Crashes: 1},
		"three members, one crash and one message": {Members: 3, From: protocol.PhaseArm, Settle: true, Timeless: true, Crashes: 1, Letters: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.Limit = *deep
			wantGood(t, c, false)
		})
	}
}

// wantGood explores a space and wants no violation in it, and that it was not an
// empty one.
func wantGood(t *testing.T, c Config, whole bool) {
	t.Helper()
	if c.Strategy == "" {
		c.Strategy = snapline.Colour
	}
	began := time.Now()
	r := Run(c)
	t.Logf("%d states, %d transitions, depth %d, complete: %v, calm tried from %d, record in %d, %v",
		r.States, r.Transitions, r.Depth, r.Complete, r.Still, r.Commits, time.Since(began).Round(time.Millisecond))
	if r.Fault != "" {
		t.Fatalf("%s\n%s", r.Fault, strings.Join(r.Trace, "\n"))
	}
	if whole && (!r.Complete || r.Commits == 0 && !c.Settle) {
		t.Errorf("complete: %v, states with a record: %d", r.Complete, r.Commits)
	}
}

// TestOrderDoesNotMatter wants two independent deliveries to lead to the same
// state in either order: otherwise nothing would ever be recognised.
func TestOrderDoesNotMatter(t *testing.T) {
	cfg := &Config{Members: 2, Strategy: snapline.Colour}
	first := begin(cfg)
	before := first.id()
	done := map[key]bool{}
	for _, order := range [][]int8{{0, 0}, {1, 0}} {
		s := first
		for _, i := range order {
			s, _ = s.after(action{kind: deliver, arg: i, few: all})
		}
		done[s.id()] = true
	}
	if len(done) != 1 {
		t.Error("two orders of the same deliveries lead to different states")
	}
	if first.id() != before || done[before] {
		t.Error("an action changed the state that it was taken in, or did not change anything")
	}
}
