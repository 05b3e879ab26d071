package qemu

import (
	"math"
	"time"

	"github.com/snapline/snapline"
	"golang.org/x/sys/unix"
)

// stood notes that the VM stood still from stop to resume, which are QEMU's
// wall clock. The boot clock's are as good as nobody sets that clock meanwhile.
func (c *capture) stood(stop, resume time.Time) {
	c.report.PauseMS = milliseconds(resume.Sub(stop))
	boot, now, ok := clocks()
	if !ok {
		return
	}
	c.report.Paused = boot.Add(stop.Sub(now))
	c.report.Resumed = boot.Add(resume.Sub(now))
}

// clocks reads both clocks at one moment. What comes between two readings makes
// an error, so the closest of some are taken.
func clocks() (boot snapline.Instant, wall time.Time, ok bool) {
	least := time.Duration(math.MaxInt64)
	for range 10 {
		var before, after unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &before) != nil {
			return 0, wall, false
		}
		now := time.Now()
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &after) != nil {
			return 0, wall, false
		}
		if took := time.Duration(after.Nano() - before.Nano()); took < least {
			least, boot, wall = took, snapline.Instant(before.Nano()).Add(took/2), now
		}
	}
	return boot, wall, true
}
