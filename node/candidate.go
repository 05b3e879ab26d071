package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// leaderKey is where the store keeps who leads.
const leaderKey = "leader"

// LeaderLease is how long a leader that is not heard of any more keeps the
// lead. It is above what a replicated JetStream bucket needs to choose its own
// leader (5 to 9 s, compiled in): the death of another server must not depose a
// coordinator that lives.
const LeaderLease = 10 * time.Second

// freshFor is how long after its predecessor's last sign of life a leader goes
// on with what that one has begun.
const freshFor = time.Minute

// leaderRecord is the one who leads, or was the last to.
type leaderRecord struct {
	Term uint64 `json:"term"` // never used by two lives
	Name string `json:"name"` // for people
	Life string `json:"life"` // one life of one process
	Beat uint64 `json:"beat"` // grows while it lives
	// Resigned says that it has gone, and that nobody has to wait.
	Resigned bool `json:"resigned,omitempty"`
}

// Candidate is one of several coordinators that share a store, of which one
// leads at a time. No clock is compared with another machine's: who wants to
// lead waits until the leader's entry has not changed for a whole lease, and
// swaps it for its own; who leads counts the same lease, less what clocks may
// differ in rate, from before its last successful change.
type Candidate struct {
	Store snapline.Store
	Name  string        // among the coordinators: "c1"
	Lease time.Duration // default LeaderLease
	Clock Clock         // default BootClock
	Log   *slog.Logger

	// sole candidates wait for nobody, and never renew.
	sole bool
	life string

	mu       sync.Mutex
	leader   string           // the name in the entry that was seen last
	lastLife snapline.Instant // when a leader, us too, was last seen at work
}

// Run calls lead each time that this coordinator has come to lead; lead must
// return when its context ends, which it does when the lead is lost. Run returns
// when ctx ends. What lead returns while it leads still is logged, and others
// get their chance.
func (c *Candidate) Run(ctx context.Context, lead func(context.Context, *Term) error) error {
	c.prepare()
	for {
		t, at, err := c.win(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.Log.Info("this coordinator leads", "name", c.Name, "term", t.Number())
		err = c.reign(ctx, t, at, lead)
		switch {
		case c.sole, ctx.Err() != nil:
			return err
		case err != nil:
			c.Log.Error("gave up the lead", "name", c.Name, "error", err)
			c.pause(ctx, c.Lease) // another one may do better
		}
	}
}

func (c *Candidate) prepare() {
	if c.Lease == 0 {
		c.Lease = LeaderLease
	}
	if c.Clock == nil {
		c.Clock = BootClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.life = strings.ToLower(rand.Text())
}

// Leader is the name of the coordinator that leads, as far as this one knows;
// "" when none was seen.
func (c *Candidate) Leader() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

func (c *Candidate) saw(name string, alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = name
	if alive {
		c.lastLife = c.Clock.Now()
	}
}

func (c *Candidate) fresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastLife != snapline.Never && c.Clock.Now().Sub(c.lastLife) < freshFor
}

// entry is what the store says of the leader.
type entry struct {
	leaderRecord
	revision uint64
}

func (c *Candidate) read(ctx context.Context) (e entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Lease/2)
	defer cancel()
	b, revision, err := c.Store.Get(ctx, leaderKey)
	if errors.Is(err, snapline.ErrNotFound) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &e.leaderRecord)
	}
	if err != nil {
		return e, fmt.Errorf("read who leads: %w", err)
	}
	e.revision = revision
	return e, nil
}

func (c *Candidate) write(ctx context.Context, r leaderRecord, revision uint64) (entry, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return entry{}, err
	}
	next, err := c.Store.Swap(ctx, leaderKey, b, revision)
	return entry{r, next}, err
}

// valid is how long a leader may act after the moment before its last change.
func (c *Candidate) valid() time.Duration {
	return time.Duration(float64(c.Lease) * (1 - 2*snapline.ClockRateMargin))
}

// win returns when this coordinator leads.
func (c *Candidate) win(ctx context.Context) (*Term, entry, error) {
	var seen entry
	var since snapline.Instant
	first, silent := true, false
	for {
		e, err := c.read(ctx)
		now := c.Clock.Now()
		switch {
		case err != nil && c.sole:
			return nil, e, err
		case err != nil:
			if !silent && ctx.Err() == nil {
				silent = true
				c.Log.Warn("the store does not say who leads; asking until it does", "error", err)
			}
		case c.sole, e.revision == 0, e.Resigned, e.Life == c.life, !first && e.revision == seen.revision && now.Sub(since) >= c.Lease:
			c.saw(e.Name, e.Resigned && !first && e.revision != seen.revision)
			if t, mine, err := c.claim(ctx, e); err == nil {
				return t, mine, nil
			} else if c.sole && !errors.Is(err, snapline.ErrConflict) {
				return nil, e, fmt.Errorf("take the lead: %w", err)
			}
		case first || e.revision != seen.revision:
			silent = false
			c.saw(e.Name, !first)
			if first || e.Life != seen.Life {
				c.Log.Info("waiting in case the leader fails", "leader", e.Name, "name", c.Name)
			}
			seen, since, first = e, now, false
		}
		if !c.pause(ctx, c.Lease/10) {
			return nil, e, ctx.Err()
		}
	}
}

// claim puts this coordinator in the place of the one in e.
func (c *Candidate) claim(ctx context.Context, e entry) (*Term, entry, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Lease/2)
	defer cancel()
	began := c.Clock.Now()
	mine, err := c.write(ctx, leaderRecord{Term: e.Term + 1, Name: c.Name, Life: c.life}, e.revision)
	if err != nil {
		return nil, e, err
	}
	until := always
	if !c.sole {
		until = began.Add(c.valid())
	}
	t := newTerm(c.Clock, mine.Term, until)
	t.shared, t.life, t.before, t.fresh = !c.sole, c.life, e.Life, c.fresh()
	c.saw(c.Name, true)
	return t, mine, nil
}

// pause waits, or reports false when ctx ends first.
func (c *Candidate) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
