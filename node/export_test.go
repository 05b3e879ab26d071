package node

import "time"

// SetLeaseLimits makes those who wait for the repository give up sooner.
func (c *Coordinator) SetLeaseLimits(round, patience, insist time.Duration) {
	c.leases.limits = leaseLimits{round: round, patience: patience, insist: insist, poll: 10 * time.Millisecond}
}
