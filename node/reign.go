package node

import (
	"context"
	"errors"
	"time"

	"github.com/snapline/snapline"
)

// deposed is the error of a coordinator in whose place another has come.
func deposed() *snapline.Error {
	return &snapline.Error{Code: snapline.CodeUnavailable, Message: "another coordinator has taken over", Hint: "this one should be stopped; several share the lead when each has a --name"}
}

// reign calls lead, and keeps the lease alive meanwhile.
func (c *Candidate) reign(ctx context.Context, t *Term, at entry, lead func(context.Context, *Term) error) error {
	term, cancel := context.WithCancel(ctx)
	defer cancel()
	var lost error
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		at, lost = c.keep(term, t, at)
		t.end(cancel)
	}()
	err := lead(term, t)
	removed := term.Err() != nil && ctx.Err() == nil
	t.end(cancel) // whatever was begun and still runs must not act any more
	<-kept
	if !removed {
		c.resign(at)
		return err
	}
	c.Log.Warn("this coordinator leads no more", "name", c.Name, "term", t.Number(), "reason", lost)
	if c.sole {
		return deposed()
	}
	return nil
}

// keep renews the lease until ctx ends or the lead is lost, and returns the
// latest entry and what has ended it.
func (c *Candidate) keep(ctx context.Context, t *Term, at entry) (entry, error) {
	every := c.Lease / 5
	if c.sole {
		every = time.Duration(always) // only when a term has to be raised
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return at, ctx.Err()
		case <-timer.C:
		case <-t.raise:
		}
		next, err := c.renew(ctx, t, at)
		switch {
		case err == nil:
			at = next
			timer.Reset(every)
		case errors.Is(err, snapline.ErrConflict):
			return at, deposed()
		case !t.Leads():
			return at, err
		default:
			c.Log.Warn("renew the lead", "error", err)
			timer.Reset(min(every, c.Lease/20)) // at once, nearly
		}
	}
}

// renew changes our entry. ErrConflict says that it is somebody else's now.
func (c *Candidate) renew(ctx context.Context, t *Term, at entry) (entry, error) {
	limit := c.Lease / 2
	if left := snapline.Instant(t.until.Load()).Sub(c.Clock.Now()); !c.sole && left < limit {
		limit = left // the lead must not outlast its lease because a store is slow
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := c.Clock.Now()
	r := at.leaderRecord
	r.Beat++
	r.Term = t.next()
	next, err := c.write(ctx, r, at.revision)
	if errors.Is(err, snapline.ErrConflict) {
		// Ours perhaps, of an attempt whose answer was lost.
		e, readErr := c.read(ctx)
		if readErr != nil {
			return at, readErr
		}
		if e.Life != c.life {
			return at, err
		}
		next, err = c.write(ctx, r, e.revision)
	}
	if err != nil {
		return at, err
	}
	t.number.Store(r.Term)
	if !c.sole {
		t.until.Store(int64(began.Add(c.valid())))
	}
	c.saw(c.Name, true)
	return next, nil
}

// resign lets the others go on without waiting for the lease to run out.
func (c *Candidate) resign(at entry) {
	if c.sole {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Lease/5)
	defer cancel()
	r := at.leaderRecord
	r.Resigned = true
	if _, err := c.write(ctx, r, at.revision); err != nil {
		c.Log.Debug("resign", "error", err) // they wait, then
	}
}
