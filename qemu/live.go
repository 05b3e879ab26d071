package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/snapline/snapline/qemu/qmp"
)

// canPrefault reports whether the guest's pages can be made present before the
// cut. In QEMU before 8.1 the snapshot's thread touches all pages first and
// then writes the stream's header while the VM runs; since then the header is
// written under QEMU's big lock, and must not block. Guests that can give pages
// back are left out: a page that goes between the touching and the cut would
// escape the write protection.
func (c *capture) canPrefault(ctx context.Context) bool {
	client := c.vm.client
	if client.Version().AtLeast(8, 1) || c.vm.hypervisor.lazy {
		return false
	}
	if _, err := qmp.Run(ctx, client, qmp.QueryBalloon{}); !qmp.IsRefused(err) {
		return false
	}
	devices, err := qmp.Run(ctx, client, qmp.QueryMemoryDevices{})
	return err == nil && len(devices) == 0
}

// prefault starts the migration into a full pipe. It returns when the thread
// waits there, having touched all of the guest's memory.
func (c *capture) prefault(ctx context.Context) error {
	if err := c.spool.fill(); err != nil {
		return err
	}
	if err := c.handOver(ctx); err != nil {
		return err
	}
	before := c.vm.proc.threads()
	if err := c.migrate(ctx); err != nil {
		return err
	}
	return c.awaitWriter(ctx, before)
}

// awaitWriter waits until a thread that was not there before sleeps in a write
// to a pipe. It is only about time: a cut that comes earlier is as good, and
// pauses no longer, but takes longer from call to return. So a kernel that
// does not show where threads sleep (/proc/PID/task/TID/wchan) is no error.
func (c *capture) awaitWriter(ctx context.Context, before map[string]bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	gib := time.Duration(c.vm.info.RAMBytes>>30 + 1)
	late := time.After(gib * time.Second)
	for {
		for id := range c.vm.proc.threads() {
			if before[id] {
				continue
			}
			where, err := c.vm.proc.proc("task/" + id + "/wchan")
			if err == nil && strings.Contains(string(where), "pipe_write") {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-late:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.vm.gone:
			return fmt.Errorf("QEMU went away")
		}
	}
}

// cutLive lets the migration go: QEMU stops the VM, saves the devices, write-
// protects the memory and lets the VM run; pages follow while it runs.
func (c *capture) cutLive(ctx context.Context) error {
	select {
	case <-c.cancelled:
		return errors.New("the capture was given up: it was cancelled, or the time that the VM may be held was over")
	default:
	}
	pause := c.vm.currentPause()
	if pause != nil && !pause.held() {
		return errPauseEnded
	}
	if err := c.skipEvents(); err != nil {
		return err
	}
	c.spool.start()
	if !c.migrating.Load() {
		if err := c.migrate(ctx); err != nil {
			return err
		}
	}
	if pause != nil {
		return c.followPaused(ctx, pause)
	}
	return c.followRunning(ctx)
}

// skipEvents drops what happened before the cut, unless the migration has
// ended already.
func (c *capture) skipEvents() error {
	for {
		ev, ok := c.events.TryNext()
		if !ok {
			return nil
		}
		if err := migrationEnded(ev); err != nil {
			return err
		}
	}
}

// followRunning waits for the stop and the start that QEMU makes itself.
func (c *capture) followRunning(ctx context.Context) error {
	stop, err := c.await(ctx, "STOP", "")
	if err != nil {
		return err
	}
	resume, err := c.await(ctx, "RESUME", "")
	if err != nil {
		return err
	}
	c.stood(stop.At, resume.At)
	return c.past(ctx)
}

// followPaused resumes a VM that was paused before the cut as soon as the
// instant is past. QEMU before 8.1 does it by itself; asking twice is no error.
// A stop means that the VM had run, and the instant is not where it should be.
func (c *capture) followPaused(ctx context.Context, p *pause) error {
	if err := c.past(ctx); err != nil {
		return err
	}
	if _, err := qmp.Run(ctx, c.vm.client, qmp.Cont{}); err != nil {
		return err
	}
	resume, err := c.await(ctx, "RESUME", "STOP")
	if err != nil {
		return err
	}
	c.stood(p.began, resume.At)
	c.vm.forgetPause()
	return nil
}

// await returns the next event of a name. One named forbidden, and the end of
// the migration without success, are errors.
func (c *capture) await(ctx context.Context, name, forbidden string) (qmp.Event, error) {
	for {
		ev, err := c.events.Next(ctx)
		if err != nil {
			return ev, err
		}
		if ev.Name == forbidden {
			return ev, errPauseEnded
		}
		if ev.Name == name {
			return ev, nil
		}
		if err := migrationEnded(ev); err != nil {
			return ev, err
		}
	}
}

// past waits until the instant is certainly over: the first page is sent only
// once the memory is write-protected.
func (c *capture) past(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		m, err := qmp.Run(ctx, c.vm.client, qmp.QueryMigrate{})
		switch {
		case err != nil:
			return err
		case m.Status == "completed", m.RAM != nil && m.RAM.Normal+m.RAM.Duplicate > 0:
			return nil
		case !m.Under():
			return migrationError(m)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.spool.done:
			if c.spool.err != nil {
				return c.spool.err
			}
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
