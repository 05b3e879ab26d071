package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/snapline/snapline"
)

// givenKey is where the store keeps the longest lease that a host may have.
const givenKey = "lease.hosts"

// inherit makes sure that no host counts as lost by this coordinator's lease while
// one that a predecessor gave it, a longer one, may last. Called before any host is
// answered.
func (c *Coordinator) inherit(ctx context.Context) error {
	b, _, err := c.Store.Get(ctx, givenKey)
	if err != nil && !errors.Is(err, snapline.ErrNotFound) {
		return fmt.Errorf("read the lease of a predecessor: %w", err)
	}
	before, err := time.ParseDuration(string(b))
	if err != nil || before <= c.Lease {
		return c.noteLease(ctx)
	}
	left := silenceOf(before)
	c.roster.mu.Lock()
	c.roster.former = c.Clock.Now().Add(left)
	c.roster.mu.Unlock()
	c.running.Go(func() {
		for wait := left + time.Second; ; wait = time.Second {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			if err := c.noteLease(ctx); err == nil {
				break
			}
		}
		c.nudgeKeepers()
	})
	return nil
}

// noteLease says that no lease is longer than ours.
func (c *Coordinator) noteLease(ctx context.Context) error {
	if err := c.Store.Put(ctx, givenKey, []byte(c.Lease.String())); err != nil {
		return fmt.Errorf("note the lease: %w", err)
	}
	return nil
}
