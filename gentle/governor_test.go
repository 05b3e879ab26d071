package gentle

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// fakeWorker uses two processors whenever it runs.
type fakeWorker struct {
	running bool
	since   time.Time
	had     time.Duration // of time running
	hurried bool
	gone    bool
}

func (w *fakeWorker) ran() time.Duration {
	if w.running {
		return w.had + time.Since(w.since)
	}
	return w.had
}

func (w *fakeWorker) set(running bool) error {
	if w.gone {
		return os.ErrProcessDone
	}
	w.had, w.since, w.running = w.ran(), time.Now(), running
	return nil
}

func (w *fakeWorker) stop() error                  { return w.set(false) }
func (w *fakeWorker) cont() error                  { return w.set(true) }
func (w *fakeWorker) used() (time.Duration, error) { return 2 * w.ran(), nil }
func (w *fakeWorker) hurry() error                 { w.hurried = true; return nil }

// govern lets a governor work for a time that costs none, and returns which part
// of it the worker ran.
func govern(t *testing.T, share float64, pressure func(*fakeWorker) (stalls, error), d time.Duration) (w *fakeWorker, ran float64) {
	t.Helper()
	w = &fakeWorker{running: true}
	synctest.Test(t, func(t *testing.T) {
		w.since = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		g := &governor{worker: w, share: share, patience: DefaultPatience, stalls: func() (stalls, error) { return pressure(w) }}
		g.govern(ctx)
		ran = float64(w.ran()) / float64(d)
		if !w.running {
			t.Error("the worker was left stopped")
		}
	})
	return w, ran
}

func calm(*fakeWorker) (stalls, error) { return stalls{}, nil }

// ownOnly is pressure that the worker itself makes.
func ownOnly(w *fakeWorker) (stalls, error) { return stalls{cpu: w.ran(), io: w.ran()}, nil }

func TestGovernor(t *testing.T) {
	start := time.Now()
	others := func(*fakeWorker) (stalls, error) { return stalls{cpu: time.Since(start) / 2}, nil }
	memory := func(*fakeWorker) (stalls, error) { return stalls{memory: time.Since(start) / 10}, nil }
	none := func(*fakeWorker) (stalls, error) { return stalls{}, errors.New("no PSI") }
	for name, c := range map[string]struct {
		share    float64
		pressure func(*fakeWorker) (stalls, error)
		low, top float64 // part of the time that it runs
	}{
		"nobody else":         {0, calm, 0.85, 0.95},
		"its own pressure":    {0, ownOnly, 0.85, 0.95},
		"no pressure is told": {0, none, 0.95, 1},
		"half a processor":    {0.5, calm, 0.2, 0.26},
		"one processor":       {1, calm, 0.4, 0.51},
		"busy processors":     {0, others, 0.08, 0.13},
		"memory is short":     {0, memory, 0.08, 0.13},
		"busy, small share":   {0.1, others, 0.03, 0.06},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ran := govern(t, c.share, c.pressure, time.Minute); ran < c.low || ran > c.top {
				t.Errorf("it ran %.2f of the time, want %.2f to %.2f", ran, c.low, c.top)
			}
		})
	}
}

// TestPatience: after two minutes nobody is given way to, but the share is kept.
func TestPatience(t *testing.T) {
	start := time.Now()
	others := func(*fakeWorker) (stalls, error) { return stalls{cpu: time.Since(start) / 2}, nil }
	w, ran := govern(t, 1, others, time.Hour)
	if !w.hurried || ran < 0.4 || ran > 0.51 {
		t.Errorf("hurried: %v, ran %.2f of the time", w.hurried, ran)
	}
}

func TestWorkerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &governor{worker: &fakeWorker{gone: true}, share: 1, stalls: func() (stalls, error) { return stalls{}, nil }}
		g.govern(t.Context()) // returns
	})
}

func TestParseStall(t *testing.T) {
	got, err := parseStall([]byte("some avg10=87.24 avg60=77.87 avg300=44.98 total=214944960\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"))
	if err != nil || got != 214944960*time.Microsecond {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "some avg10=1", "some total=x", "full total=3"} {
		if d, err := parseStall([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, d)
		}
	}
}
