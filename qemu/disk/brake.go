package disk

import (
	"context"
	"time"
)

// A merge copies what the guest has written, and what it goes on writing while
// that is copied. It never ends by itself when the guest is faster.
const (
	// brakeWindow is over what time a merge is judged.
	brakeWindow = 3 * time.Second
	// brakeRest is how long the guest runs at least between two stops.
	brakeRest = 500 * time.Millisecond
	// firstStop is how long the first stop is; each is twice as long as the one
	// before, up to lastStop. Even against a guest that writes eight times as fast
	// as is copied, what is left then shrinks.
	firstStop = 250 * time.Millisecond
	lastStop  = 4 * time.Second
	// brakeTick is how often a job is looked at while the guest is stopped.
	brakeTick = 20 * time.Millisecond
)

// brake makes a merge end whose guest writes faster than it copies, by stopping
// the VM for moments. The zero value is ready.
type brake struct {
	letGo      func()    // not nil while the VM is stopped
	until      time.Time // the end of the stop, or of the rest after it
	length     time.Duration
	since      time.Time // when left and done were so
	left, done int64
}

// press takes a look at the job and stops the VM, or lets it run.
func (b *brake) press(ctx context.Context, m Machine, j job) {
	now, left := time.Now(), j.Total-j.Done
	switch {
	case b.since.IsZero():
		b.since, b.left, b.done = now, left, j.Done
	case b.letGo != nil && now.After(b.until):
		b.release()
		b.until = now.Add(brakeRest)
	case b.letGo != nil || now.Before(b.until):
	case b.length == 0 && now.Sub(b.since) < brakeWindow:
	case b.length == 0 && b.left-left > (j.Done-b.done)/4: // most of what it copies is not written again
		b.since, b.left, b.done = now, left, j.Done
	case m.Hold != nil:
		b.stop(ctx, m)
	}
}

// stop is for longer each time. A VM that cannot be stopped goes on.
func (b *brake) stop(ctx context.Context, m Machine) {
	letGo, err := m.Hold(ctx)
	if err != nil {
		b.until = time.Now().Add(brakeRest)
		return
	}
	b.letGo, b.length = letGo, min(max(firstStop, 2*b.length), lastStop)
	b.until = time.Now().Add(b.length)
}

// release lets the VM run.
func (b *brake) release() {
	if b.letGo != nil {
		b.letGo()
		b.letGo = nil
	}
}

// patience is how long until the next look at the job, should it say nothing.
func (b *brake) patience() time.Duration {
	if b.length > 0 {
		return brakeTick
	}
	return heartbeat
}
