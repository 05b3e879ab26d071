package main

import (
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"time"
)

// kind is what is done to a group's hosts.
type kind string

const (
	killVM            kind = "kill-vm"
	killAgent         kind = "kill-agent"
	killCoordinator   kind = "kill-coordinator"
	killHost          kind = "kill-host"
	freezeAgent       kind = "freeze-agent"
	freezeCoordinator kind = "freeze-coordinator"
	cutHost           kind = "cut-host"    // its cable is pulled
	cutControl        kind = "cut-control" // from the coordinator alone
	fillSpool         kind = "fill-spool"
	fillRepository    kind = "fill-repository"
)

// kinds lists them all, as they are drawn.
var kinds = []kind{killVM, killAgent, killCoordinator, killHost, freezeAgent, freezeCoordinator, cutHost, cutControl, fillSpool, fillRepository}

// job is what an operator has begun when the fault comes.
type job string

const (
	noJob   job = ""
	taking  job = "take"
	placing job = "restore" // the last snapshot, on hosts that are drawn
)

// fault is one thing that goes wrong. Target counts hosts, or virtual machines,
// from 0; some kinds have none.
type fault struct {
	Kind   kind          `json:"kind"`
	Target int           `json:"target"`
	After  time.Duration `json:"after"` // the fault before it, or the job's beginning
}

func (f fault) String() string {
	switch f.Kind {
	case killVM:
		return fmt.Sprintf("%s n%d", f.Kind, f.Target+1)
	case killCoordinator, freezeCoordinator, fillRepository:
		return string(f.Kind)
	default:
		return fmt.Sprintf("%s h%d", f.Kind, f.Target+1)
	}
}

// step is what is done before one look at everything.
type step struct {
	Number int           `json:"number"` // from 1
	Job    job           `json:"job,omitempty"`
	Place  [size]int     `json:"place"` // of a restore: the hosts of n1, n2, …
	Faults []fault       `json:"faults"`
	Hold   time.Duration `json:"hold"` // from the last fault until all of them are taken back
}

// size is how many hosts a lab has, and how many virtual machines.
const size = 3

// schedule draws the steps of a group's run, without an end. It depends on its
// arguments only: the same seed is the same trouble, though not at the same
// moments of what the machines do.
func schedule(seed uint64, group string) iter.Seq[step] {
	h := fnv.New64a()
	h.Write([]byte(group))
	return func(yield func(step) bool) {
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		var deck []int // each kind once, before one comes again
		for n := 1; ; n++ {
			if len(deck) == 0 {
				deck = r.Perm(len(kinds))
			}
			if !yield(draw(r, n, kinds[deck[0]])) {
				return
			}
			deck = deck[1:]
		}
	}
}

func draw(r *rand.Rand, n int, first kind) step {
	s := step{Number: n, Job: []job{noJob, noJob, taking, taking, placing}[r.IntN(5)]}
	for i := range s.Place {
		s.Place[i] = r.IntN(size)
	}
	s.Faults = []fault{{Kind: first, Target: r.IntN(size), After: between(r, 0, 2500)}}
	if r.IntN(3) == 0 { // one misfortune seldom comes alone
		s.Faults = append(s.Faults, fault{Kind: kinds[r.IntN(len(kinds))], Target: r.IntN(size), After: between(r, 200, 8000)})
	}
	if r.IntN(2) == 0 {
		s.Hold = between(r, 500, 3000) // shorter than a lease
	} else {
		s.Hold = between(r, 8000, 14000)
	}
	return s
}

// between draws a whole number of milliseconds.
func between(r *rand.Rand, least, most int) time.Duration {
	return time.Duration(least+r.IntN(most-least+1)) * time.Millisecond
}
