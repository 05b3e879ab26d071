package gentle

import (
	"context"
	"time"
)

// Times of a governor.
const (
	step   = 20 * time.Millisecond  // between looks at the share
	burst  = 100 * time.Millisecond // of the share that may be saved up
	spell  = 400 * time.Millisecond // of work between two times of listening
	settle = 10 * time.Millisecond  // after a stop, until what was under way has ended
	listen = 40 * time.Millisecond
	rest   = 900 * time.Millisecond // at the most, while others are busy;
	sip    = 100 * time.Millisecond // then so much work all the same
)

// worker is the process that is governed. Errors say that it is gone.
type worker interface {
	stop() error
	cont() error
	// used is the processor time that it has had.
	used() (time.Duration, error)
	// hurry ends its low priority.
	hurry() error
}

// governor lets a worker run and rest.
type governor struct {
	worker worker
	// share is how many processors it may use, on average; 0: any number.
	share float64
	// patience is how long the worker gives way.
	patience time.Duration
	// stalls reads the pressure; an error says that there is none to be had.
	stalls func() (stalls, error)
}

// govern works until ctx ends or the worker is gone; then the worker, if it is
// there, runs.
func (g *governor) govern(ctx context.Context) {
	defer g.worker.cont()
	began := time.Now()
	last, err := g.worker.used()
	if err != nil {
		return
	}
	tokens, at := burst, began // what it may use, and when that was reckoned
	pay := func() (err error) {
		now, used := time.Now(), last
		if used, err = g.worker.used(); err != nil {
			return err
		}
		tokens = min(burst, tokens+time.Duration(g.share*float64(now.Sub(at)))-(used-last))
		last, at = used, now
		return nil
	}
	work := spell
	for wait(ctx, 0) {
		if time.Since(began) > g.patience {
			g.hurry(ctx, pay, &tokens)
			return
		}
		// Work, and pay for it.
		for until := time.Now().Add(work); time.Now().Before(until); {
			if g.worker.cont() != nil || !wait(ctx, step) || pay() != nil {
				return
			}
			if g.share > 0 && tokens < 0 && !g.repay(ctx, pay, &tokens) {
				return
			}
		}
		// Listen, and rest while others are busy.
		work = spell
		if g.worker.stop() != nil || !wait(ctx, settle) {
			return
		}
		for rested := time.Duration(0); g.othersBusy(ctx); rested += listen {
			if rested >= rest {
				work = sip
				break
			}
		}
		if pay() != nil {
			return
		}
	}
}

// repay keeps the worker still until it has not used more than its share.
func (g *governor) repay(ctx context.Context, pay func() error, tokens *time.Duration) bool {
	if g.worker.stop() != nil {
		return false
	}
	for *tokens < 0 {
		if !wait(ctx, max(step, time.Duration(float64(-*tokens)/g.share))) || pay() != nil {
			return false
		}
	}
	return g.worker.cont() == nil
}

// hurry goes on without regard for others, but for the share.
func (g *governor) hurry(ctx context.Context, pay func() error, tokens *time.Duration) {
	if g.worker.hurry() != nil || g.worker.cont() != nil || g.share <= 0 {
		return
	}
	for wait(ctx, step) && pay() == nil {
		if *tokens < 0 && !g.repay(ctx, pay, tokens) {
			return
		}
	}
}

// othersBusy listens for a moment, in which the worker stands still.
func (g *governor) othersBusy(ctx context.Context) bool {
	before, err := g.stalls()
	if err != nil || !wait(ctx, listen) {
		return false
	}
	after, err := g.stalls()
	return err == nil && busy(before, after, listen)
}

// wait returns false when ctx ends first, or has ended.
func wait(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
