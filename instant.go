package snapline

import "time"

// Instant is a reading of one machine's CLOCK_BOOTTIME in nanoseconds. It
// keeps counting while the machine is suspended, is never set back, and is the
// clock that the gate's packet path checks deadlines against
// (bpf_ktime_get_boot_ns). Instants of two machines, or of two boots of one
// machine, cannot be compared.
type Instant int64

// Never is the zero Instant; as a deadline it is one that has always passed.
const Never Instant = 0

// Add returns the instant d later.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Sub returns the time from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }
