package snapline_test

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

func TestDeadlinesValid(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		d     snapline.Deadlines
		valid bool
	}{
		{"default", snapline.DefaultDeadlines(), true},
		{"zero", snapline.Deadlines{}, false},
		{"no ready", snapline.Deadlines{Arm: s, Cut: s, Gate: 3 * s}, false},
		{"no arm", snapline.Deadlines{Ready: s, Cut: s, Gate: 3 * s}, false},
		{"no cut", snapline.Deadlines{Ready: s, Arm: s, Gate: 3 * s}, false},
		{"no gate", snapline.Deadlines{Ready: s, Arm: s, Cut: s}, false},
		{"negative", snapline.Deadlines{Ready: s, Arm: -s, Cut: s, Gate: 3 * s}, false},
		{"sum equals gate", snapline.Deadlines{Ready: s, Arm: 2 * s, Cut: 3 * s, Gate: 5 * s}, false},
		{"one clock's margin is not enough", snapline.Deadlines{Ready: s, Arm: 2 * s, Cut: 3 * s, Gate: 5*s + 51*time.Millisecond}, false},
		{"just below both clocks' margin", snapline.Deadlines{Ready: s, Arm: 2 * s, Cut: 3 * s, Gate: 5*s + 101*time.Millisecond}, false},
		{"just above both clocks' margin", snapline.Deadlines{Ready: s, Arm: 2 * s, Cut: 3 * s, Gate: 5*s + 102*time.Millisecond}, true},
	} {
		if err := c.d.Valid(); (err == nil) != c.valid {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestDeadlinesMargin holds Valid against what it is for: whatever the two
// clocks' rates within the margin, a gate armed first outlives the last cut of
// a member armed last.
func TestDeadlinesMargin(t *testing.T) {
	d := snapline.Deadlines{Ready: time.Second, Arm: 2 * time.Second, Cut: 3 * time.Second}
	for d.Gate = d.Arm + d.Cut; d.Valid() != nil; d.Gate += time.Millisecond {
	}
	slow, fast := 1-snapline.ClockRateMargin, 1+snapline.ClockRateMargin
	lastCut := float64(d.Arm+d.Cut) / slow // as true time passes on slow clocks
	firstEnd := float64(d.Gate) / fast
	if firstEnd <= lastCut {
		t.Errorf("gate %v may end %v before the last cut", d.Gate, time.Duration(lastCut-firstEnd))
	}
}
