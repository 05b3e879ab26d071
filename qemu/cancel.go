package qemu

import (
	"context"

	"github.com/snapline/snapline/qemu/qmp"
)

// Cancel gives up, and removes the spool also after Finish. Of several calls
// all return when the first one is through.
func (c *capture) Cancel() { c.cancel.Do(c.giveUp) }

func (c *capture) giveUp() {
	<-c.primed
	close(c.cancelled)
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	client := c.vm.client
	c.vm.mu.Lock()
	under := c.vm.capture == c // not after Finish
	c.vm.mu.Unlock()
	if under && c.migrating.Load() {
		soon, cancel := context.WithTimeout(ctx, answerTime)
		qmp.Run(soon, client, qmp.MigrateCancel{}) // the closed pipe does it, too
		cancel()
	}
	if c.spool != nil {
		c.spool.abort() // after the request, so that QEMU reports no broken pipe
	}
	if under {
		c.undo(ctx)
	}
	c.dropDisks()
	if c.spool != nil {
		c.spool.remove()
	}
	c.leave()
}

// undo brings the VM back to where it was before Prime. With the connection
// gone every step fails at once: then QEMU is dead, or runs by itself, or its
// guard sees to it.
func (c *capture) undo(ctx context.Context) {
	client := c.vm.client
	if c.handed.Load() && !c.migrating.Load() {
		qmp.Run(ctx, client, qmp.CloseFD{Name: descriptorName})
	}
	if c.migrating.Load() {
		rescue(ctx, client, c.vm.proc)
	}
	c.vm.unpause(ctx)
	// The migration's thread stops the VM for the instant; one that was
	// cancelled just then leaves it stopped.
	if st, err := c.vm.status(ctx); err == nil && !st.Running && c.migrating.Load() {
		qmp.Run(ctx, client, qmp.Cont{})
	}
	if c.settings != nil {
		c.settings.restore(ctx)
	}
	if c.guard != nil {
		c.guard.release()
	}
}
