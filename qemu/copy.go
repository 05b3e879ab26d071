package qemu

import (
	"context"

	"github.com/snapline/snapline/qemu/qmp"
)

// cutStopped fixes the instant by stopping the VM, which stays stopped until
// Finish.
func (c *capture) cutStopped(ctx context.Context) error {
	if err := c.vm.Pause(ctx, c.vm.hypervisor.patience); err != nil {
		return err
	}
	pause := c.vm.currentPause()
	if pause == nil || !pause.held() {
		return errPauseEnded
	}
	c.spool.start()
	if err := c.migrate(ctx); err != nil {
		return err
	}
	go c.keepAlive(pause.guard)
	return nil
}

// resumeCopied lets the VM run after its copy is complete, if it was stopped
// all the time.
func (c *capture) resumeCopied(ctx context.Context) error {
	pause := c.vm.currentPause()
	if pause == nil || !pause.held() {
		return errPauseEnded
	}
	if err := c.skipEvents(); err != nil {
		return err
	}
	if _, err := qmp.Run(ctx, c.vm.client, qmp.Cont{}); err != nil {
		return err
	}
	resume, err := c.await(ctx, "RESUME", "")
	if err != nil {
		return err
	}
	c.stood(pause.began, resume.At)
	c.vm.forgetPause()
	return nil
}
