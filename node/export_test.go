package node

import "time"

// SetLeaseLimits makes those who wait for the repository give up sooner.
func (c *Coordinator) SetLeaseLimits(round, patience, insist time.Duration) {
	c.leases.limits = leaseLimits{round: round, patience: patience, insist: insist, poll: 10 * time.Millisecond}
}

// HurryKeepers makes protections look and try again sooner. Call it before Run.
func (c *Coordinator) HurryKeepers() {
	c.pace = pace{busy: 20 * time.Millisecond, retry: 50 * time.Millisecond, longest: 200 * time.Millisecond, look: 100 * time.Millisecond}
}
