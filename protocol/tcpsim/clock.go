package tcpsim

import (
	"context"
	"time"

	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/snapline/snapline/protocol/sim"
)

// clock is the clock of one guest. It stands still while the guest is paused,
// and between a snapshot and its restore, and its timers with it.
type clock struct {
	site    sim.Site
	settle  func() // wait for what a timer has started
	behind  time.Duration
	running bool
	stopped time.Duration // what it shows while it stands still
	timers  []*timer      // that are set, in no order
}

var _ tcpip.Clock = (*clock)(nil)

// epoch is what every guest takes for the time at which its world began.
var epoch = time.Unix(1_000_000_000, 0)

func (c *clock) now() time.Duration {
	if !c.running {
		return c.stopped
	}
	return c.site.Now() - c.behind
}

// Now implements tcpip.Clock.
func (c *clock) Now() time.Time { return epoch.Add(c.now()) }

// NowMonotonic implements tcpip.Clock.
func (c *clock) NowMonotonic() tcpip.MonotonicTime {
	var zero tcpip.MonotonicTime
	return zero.Add(time.Second + c.now())
}

// AfterFunc implements tcpip.Clock. The function runs on the goroutine of the
// world, like everything else.
func (c *clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &timer{clock: c, do: f}
	t.Reset(d)
	return t
}

func (c *clock) pause() {
	c.stopped = c.now()
	c.running = false
}

func (c *clock) resume() {
	c.behind, c.running = c.site.Now()-c.stopped, true
	for _, t := range c.timers {
		t.plan()
	}
}

// timer is one timer of a clock.
type timer struct {
	clock *clock
	do    func()
	at    time.Duration // on the clock
	set   bool
	plans int // how often it was planned: only the last one counts
}

// Reset implements tcpip.Timer.
func (t *timer) Reset(d time.Duration) {
	t.Stop()
	t.at, t.set = t.clock.now()+max(d, 0), true
	t.clock.timers = append(t.clock.timers, t)
	if t.clock.running {
		t.plan()
	}
}

// Stop implements tcpip.Timer.
func (t *timer) Stop() bool {
	was := t.set
	t.set = false
	for i, other := range t.clock.timers {
		if other == t {
			t.clock.timers = append(t.clock.timers[:i], t.clock.timers[i+1:]...)
			break
		}
	}
	return was
}

// plan has the world ring the timer, if nothing comes between.
func (t *timer) plan() {
	t.plans++
	plan, c := t.plans, t.clock
	c.site.At(t.at+c.behind, func() {
		if t.set && t.plans == plan && c.running {
			t.Stop()
			t.do()
			c.settle()
		}
	})
}

// A saved clock is what it shows; its timers are those of the stack, which sets
// them anew.

func (c *clock) StateTypeName() string   { return "snapline/tcpsim.clock" }
func (c *clock) StateFields() []string   { return []string{"stopped"} }
func (c *clock) StateSave(to state.Sink) { shows := c.now(); to.Save(0, &shows) }
func (c *clock) StateLoad(ctx context.Context, from state.Source) {
	from.Load(0, &c.stopped)
	c.site = ctx.Value(siteKey{}).(sim.Site)
	c.settle = func() {}
}

// siteKey is how a clock that is loaded finds its world.
type siteKey struct{}

func init() { state.Register((*clock)(nil)) }
