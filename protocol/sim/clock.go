package sim

import "github.com/snapline/snapline"

// moment is a point of the world's true time, in nanoseconds.
type moment int64

// clock is one machine's clock: an offset and a constant error in rate.
type clock struct {
	offset moment
	ppm    int64 // parts per million too fast
}

const million = 1_000_000

// read returns what the clock shows at t.
func (c clock) read(t moment) snapline.Instant {
	return snapline.Instant(c.offset + t + t*moment(c.ppm)/million)
}

// when returns the first moment at which the clock shows at or more.
func (c clock) when(at snapline.Instant) moment {
	d := moment(at) - c.offset
	t := d * million / (million + moment(c.ppm))
	for c.read(t) < at {
		t++
	}
	return t
}
