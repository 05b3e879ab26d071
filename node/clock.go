package node

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Clock reads this machine's time. Safe for use from several goroutines.
type Clock interface {
	// Now is the machine's monotonic time, for deadlines.
	Now() snapline.Instant
	// Wall is the time of day, for records that people read.
	Wall() time.Time
}

// BootClock is CLOCK_BOOTTIME, the clock that gates check deadlines against.
type BootClock struct{}

// Now reads CLOCK_BOOTTIME.
func (BootClock) Now() snapline.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // since Linux 2.6.39
	}
	return snapline.Instant(ts.Nano())
}

// Wall is time.Now in UTC.
func (BootClock) Wall() time.Time { return time.Now().UTC() }
