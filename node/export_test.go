package node

import (
	"time"

	"github.com/snapline/snapline"
)

// SetLeaseLimits makes those who wait for the repository give up sooner.
func (c *Coordinator) SetLeaseLimits(round, patience, insist time.Duration) {
	c.leases.limits = leaseLimits{round: round, patience: patience, insist: insist, poll: 10 * time.Millisecond}
}

// HurryKeepers makes protections look and try again sooner. Call it before Run.
func (c *Coordinator) HurryKeepers() {
	c.pace = pace{busy: 20 * time.Millisecond, retry: 50 * time.Millisecond, longest: 200 * time.Millisecond, look: 100 * time.Millisecond}
}

// LookSeldom leaves machines that are gone to other occasions. Call it before Run.
func (c *Coordinator) LookSeldom() { c.pace.look = time.Hour }

// TakeNow lets a group's protection take a snapshot without waiting for its time.
func (c *Coordinator) TakeNow(g snapline.GroupName) {
	c.fate.Lock()
	defer c.fate.Unlock()
	k := c.keepers[g]
	k.next = time.Now()
	k.nudge()
}
