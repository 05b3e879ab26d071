package node

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/snapline/snapline"
)

// Term is one coordinator's time in the lead. Safe for use from several
// goroutines.
type Term struct {
	clock  Clock
	number atomic.Uint64
	until  atomic.Int64  // an Instant: our own right to act ends here
	heard  atomic.Uint64 // the highest term that an agent has told us of
	raise  chan struct{} // has a value when heard has come to be above number

	// shared says that others wait for this one to fail.
	shared bool
	// life is this process's, before the one of the leader before this term; fresh
	// says that it was seen at work a moment ago.
	life, before string
	fresh        bool
}

// maxRaise bounds what one agent can make the term grow by.
const maxRaise = 1 << 20

// always is the end of a lead that nobody else waits for.
const always = snapline.Instant(math.MaxInt64)

func newTerm(c Clock, number uint64, until snapline.Instant) *Term {
	t := &Term{clock: c, raise: make(chan struct{}, 1)}
	t.number.Store(number)
	t.until.Store(int64(until))
	return t
}

// Number is the fencing number. It goes with every order, and agents obey none
// of a lower number than they have heard of. It may grow during a term.
func (t *Term) Number() uint64 { return t.number.Load() }

// Leads reports whether the lease lasts still, by this machine's own clock. It
// is asked right before each effect that reaches beyond this process; one who is
// frozen after asking meets the agents' fence, or the repository's.
func (t *Term) Leads() bool { return t.clock.Now() < snapline.Instant(t.until.Load()) }

// hear notes the term that an agent obeys. One above ours is the next
// coordinator's, and then the store says so; or the store has lost its memory,
// and the number has to grow above what agents remember.
func (t *Term) hear(term uint64) {
	for {
		h, n := t.heard.Load(), t.Number()
		if term <= h || term <= n || term-n > maxRaise {
			return
		}
		if t.heard.CompareAndSwap(h, term) {
			select {
			case t.raise <- struct{}{}:
			default:
			}
			return
		}
	}
}

// next is the number for the next entry in the store.
func (t *Term) next() uint64 {
	if n, h := t.Number(), t.heard.Load(); h <= n {
		return n
	} else {
		return h + 1
	}
}

// terms is an agent's memory of who leads: one that gives orders in an earlier
// term has been deposed, and may not know it.
type terms struct{ latest atomic.Uint64 }

// obey reports whether an order or an answer of that term counts.
func (t *terms) obey(term uint64) bool {
	for {
		l := t.latest.Load()
		if term < l {
			return false
		}
		if term == l || t.latest.CompareAndSwap(l, term) {
			return true
		}
	}
}

// end takes the right to act away at once.
func (t *Term) end(cancel context.CancelFunc) {
	t.until.Store(int64(snapline.Never))
	cancel()
}
