package qemu

import (
	"context"
	"errors"
	"time"
)

// patience is how long a capture may make no progress before the guard sets the
// guest free and the capture is lost: during it the guest is stopped, or waits
// at each first write to a page.
const patience = 5 * time.Second

// errStalled says that a live capture was given up in the guest's interest.
var errStalled = errors.New("the capture made no progress, and the guest was set free: is the spool's disk hanging?")

// keepAlive puts the guard's deadline off as long as the capture moves, or has
// not begun to hold the guest up.
func (c *capture) keepAlive(h *hold) {
	patience := c.vm.hypervisor.patience
	tick := time.NewTicker(patience / 10)
	defer tick.Stop()
	last := int64(-1)
	for {
		select {
		case <-tick.C:
		case <-h.dog.over:
			return
		case <-c.finished:
			return
		case <-c.cancelled:
			return
		}
		if now := c.Progress(); now != last || now == 0 {
			last = now
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			h.extend(ctx, patience) // fails only with the guard, which fired tells
			cancel()
		}
	}
}
