package qemu

import (
	"time"

	"github.com/snapline/snapline"
	"golang.org/x/sys/unix"
)

// stood notes that the VM stood still from stop to resume, which are QEMU's
// wall clock. The boot clock's are as good as nobody sets that clock meanwhile.
func (c *capture) stood(stop, resume time.Time) {
	c.report.PauseMS = milliseconds(resume.Sub(stop))
	var boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return
	}
	now := time.Now()
	c.report.Paused = snapline.Instant(boot.Nano()).Add(stop.Sub(now))
	c.report.Resumed = snapline.Instant(boot.Nano()).Add(resume.Sub(now))
}
