package node

import (
	"slices"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// setClock is a clock that stands where it is set.
type setClock struct{ now snapline.Instant }

func (c *setClock) Now() snapline.Instant { return c.now }
func (c *setClock) Wall() time.Time       { return time.Unix(0, int64(c.now)) }

// A coordinator that was frozen, or whose machine slept, has heard nobody
// meanwhile: that says nothing of the hosts. One that stays silent afterwards is
// lost, not much later than otherwise.
func TestTimeAsleepIsNotSilence(t *testing.T) {
	clock := &setClock{now: snapline.Instant(time.Hour)}
	r := newRoster(clock, snapline.DefaultLease)
	listen := func(d time.Duration, hosts ...snapline.HostName) (lost []snapline.HostName) {
		for range d / rosterLook {
			clock.now = clock.now.Add(rosterLook)
			for _, h := range hosts {
				r.seen(hello{Host: h, Incarnation: "1"})
			}
			lost = append(lost, r.silent()...)
		}
		return lost
	}
	if lost := listen(10*time.Second, "h1", "h2"); lost != nil {
		t.Fatalf("lost %v, and both were heard", lost)
	}
	clock.now = clock.now.Add(time.Minute)
	if lost := r.silent(); lost != nil {
		t.Errorf("lost %v on waking up", lost)
	}
	if lost := listen(r.silence-rosterLook, "h1"); lost != nil {
		t.Errorf("lost %v, sooner than a lease after waking up", lost)
	}
	if lost := listen(time.Second, "h1"); !slices.Equal(lost, []snapline.HostName{"h2"}) {
		t.Errorf("lost %v, want h2, which stays silent", lost)
	}
	if listen(unheardLeases*r.silence, "h1"); !r.out("h3") {
		t.Error("h3 was never heard of, and is waited for without end")
	}
}
