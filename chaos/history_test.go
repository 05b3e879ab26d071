package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The tests' clock counts from 1; a cut is at 20 to 22, its rollback at 40 to 44.
var back = restoration{Snapshot: "s", CutFrom: 20, CutTo: 22, From: 40, To: 44}

func p(value string, call, ret int64) operation {
	return operation{Action: put, Key: "k", Value: value, Call: call, Return: ret}
}

func g(value string, call, ret int64) operation {
	return operation{Action: get, Key: "k", Value: value, Call: call, Return: ret}
}

func TestModel(t *testing.T) {
	later := restoration{Snapshot: "t", CutFrom: 60, CutTo: 62, From: 80, To: 84}
	maybe := back
	maybe.Possible = true
	for _, c := range []struct {
		name    string
		history []operation
		back    []restoration
		ok      bool
	}{
		{"a register", []operation{p("a", 1, 2), g("a", 3, 4), p("b", 5, 6), g("b", 7, 8)}, nil, true},
		{"nothing yet", []operation{g("", 1, 2), p("a", 3, 4)}, nil, true},
		{"stale", []operation{p("a", 1, 2), p("b", 3, 4), g("a", 5, 6)}, nil, false},
		{"invented", []operation{p("a", 1, 2), g("x", 3, 4)}, nil, false},
		{"lost without a rollback", []operation{p("a", 1, 2), g("", 3, 4)}, nil, false},
		{"unknown, happens late", []operation{p("a", 1, 2), p("b", 3, never), g("a", 9, 10), g("b", 11, 12)}, nil, true},
		{"unknown, twice", []operation{p("a", 1, 2), p("b", 3, never), g("b", 5, 6), p("c", 7, 8), g("b", 9, 10)}, nil, false},

		{"back to the cut", []operation{p("a", 1, 2), p("b", 30, 31), g("b", 32, 33), g("a", 50, 51)}, []restoration{back}, true},
		{"back without one", []operation{p("a", 1, 2), p("b", 30, 31), g("b", 32, 33), g("a", 50, 51)}, nil, false},
		{"taken back, and there again", []operation{p("a", 1, 2), p("b", 30, 31), g("b", 50, 51)}, []restoration{back}, false},
		{"taken back, and there again later", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 50, 51), g("b", 52, 53)}, []restoration{back}, false},
		{"acknowledged before the cut, and gone", []operation{p("a", 1, 2), p("b", 10, 11), g("a", 50, 51)}, []restoration{back}, false},
		{"too far back", []operation{p("a", 1, 2), p("b", 10, 11), p("c", 30, 31), g("", 50, 51)}, []restoration{back}, false},
		{"to the empty register", []operation{p("a", 30, 31), g("", 50, 51)}, []restoration{back}, true},
		{"before the rollback begins", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 36, 37)}, []restoration{back}, false},
		{"during the rollback, either", []operation{p("a", 1, 2), p("b", 30, 31), g("b", 41, 42), g("a", 43, 44)}, []restoration{back}, true},
		{"during the rollback, forth again", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 41, 41), g("b", 43, 43)}, []restoration{back}, false},

		{"under way at the cut, in it", []operation{p("a", 1, 2), p("b", 19, 23), g("b", 50, 51)}, []restoration{back}, true},
		{"under way at the cut, not in it", []operation{p("a", 1, 2), p("b", 19, 23), g("b", 24, 25), g("a", 50, 51)}, []restoration{back}, true},
		{"under way at the cut, decided afterwards again", []operation{p("a", 1, 2), p("b", 19, 23), g("b", 24, 25), g("a", 50, 51), g("b", 52, 53)}, []restoration{back}, true},
		{"once only", []operation{p("a", 1, 2), p("b", 19, 23), g("a", 50, 51), g("b", 52, 53), p("c", 54, 55), g("b", 56, 57)}, []restoration{back}, false},
		{"under way at the rollback, taken back and sent again", []operation{p("a", 1, 2), p("b", 35, never), g("b", 37, 38), g("a", 50, 51), g("b", 52, 53)}, []restoration{back}, true},
		{"under way at the rollback, acknowledged after it", []operation{p("a", 1, 2), p("b", 38, 46), g("b", 50, 51)}, []restoration{back}, true},
		{"acknowledged after it, and gone", []operation{p("a", 1, 2), p("b", 45, 46), g("a", 50, 51)}, []restoration{back}, false},

		{"maybe, it was", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 50, 51)}, []restoration{maybe}, true},
		{"maybe, it was not", []operation{p("a", 1, 2), p("b", 30, 31), g("b", 50, 51)}, []restoration{maybe}, true},
		{"maybe, but not both", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 50, 51), g("b", 52, 53)}, []restoration{maybe}, false},
		{"maybe, then surely", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 50, 51), p("c", 63, 64), g("a", 90, 91)}, []restoration{maybe, later}, true},

		{"twice the same", []operation{p("a", 1, 2), p("b", 30, 31), g("a", 50, 51), p("c", 52, 53), g("a", 90, 91)},
			[]restoration{back, {Snapshot: "s", CutFrom: 20, CutTo: 22, From: 80, To: 84}}, true},
		{"each to its own", []operation{p("a", 1, 2), p("b", 30, 31), p("c", 50, 51), g("a", 90, 91)}, []restoration{back, later}, false},
		{"an echo in the next cut", []operation{p("a", 1, 2), p("b", 19, 23), g("a", 50, 51), g("b", 90, 91)}, []restoration{back, later}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := porcupine.Ok
			if !c.ok {
				want = porcupine.Illegal
			}
			if v := judge(c.history, c.back, time.Minute); v.Result != want {
				t.Errorf("%s, want %s", v.Result, want)
			}
		})
	}
}

// A store that does what the model allows, at random, is never accused; and one
// that does one forbidden thing is.
func TestModelOnRandomHistories(t *testing.T) {
	const histories = 300
	accused := 0
	for seed := range uint64(histories) {
		h, all := invent(rand.New(rand.NewPCG(seed, 1)), false)
		if v := judge(h, all, time.Minute); v.Result != porcupine.Ok {
			t.Fatalf("seed %d: %s for a history that is right: %+v, %+v", seed, v.Result, h, all)
		}
		bad, all := invent(rand.New(rand.NewPCG(seed, 1)), true)
		if v := judge(bad, all, time.Minute); v.Result == porcupine.Illegal {
			accused++
		}
	}
	if accused != histories {
		t.Errorf("%d of %d wrong histories were found", accused, histories)
	}
}

// What happened before a key was there, or when nobody looked any more, is left out.
func TestModelLeavesOut(t *testing.T) {
	seen := []operation{p("a", 60, 61), g("a", 62, 63), p("b", 90, never)}
	all := []restoration{back, {Snapshot: "s", CutFrom: 20, CutTo: 22, From: 62, To: 63}, {Snapshot: "s", CutFrom: 20, CutTo: 22, From: 64, To: 66}}
	if got := during(seen, ordered(all)); len(got) != 1 || got[0].From != 62 {
		t.Errorf("%+v", got)
	}
	before := back
	before.Possible = true // it may have been at any time until the next one
	if got := during(seen, ordered([]restoration{before})); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// Keys change, one after the other, and none begins with another.
func TestKeysChange(t *testing.T) {
	l := load{prefix: "p/"}
	for i := range loadKeys {
		if a, b := l.key(i, time.Second), l.key(i, time.Second+loadKeyLife); a == b {
			t.Errorf("%s for ever", a)
		}
	}
	changed := 0
	for i := range loadKeys {
		if l.key(i, time.Second) != l.key(i, time.Second+loadKeyLife/loadKeys) {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d change at once", changed)
	}
}

// invent plays a register that one client uses, with puts that nobody knows the
// outcome of, snapshots and rollbacks. A wrong one keeps, at its last rollback, what
// was acknowledged after the cut.
func invent(r *rand.Rand, wrong bool) (h []operation, all []restoration) {
	now := int64(0)
	tick := func() int64 { now += 1 + r.Int64N(3); return now }
	value, n := "", 0
	write := func(unknown bool) {
		n++
		v := fmt.Sprint(n)
		o := p(v, tick(), 0)
		if o.Return = tick(); unknown {
			o.Return = never
		}
		if !unknown || r.IntN(2) == 0 {
			value = v
		}
		h = append(h, o)
	}
	read := func() { h = append(h, g(value, tick(), tick())) }
	for range 3 + r.IntN(4) {
		for range r.IntN(6) {
			write(r.IntN(4) == 0)
			read()
		}
		write(false)
		one := restoration{Snapshot: fmt.Sprint("s", len(all)), CutFrom: tick()}
		saved := value
		one.CutTo = tick()
		for range 1 + r.IntN(5) {
			write(false)
			read()
		}
		one.From = tick()
		value = saved
		if r.IntN(3) == 0 && !wrong {
			write(true) // on its way meanwhile
		}
		one.To = tick()
		all = append(all, one)
		if wrong {
			value = fmt.Sprint(n)
		}
		read()
	}
	return h, all
}
