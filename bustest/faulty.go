package bustest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

var _ snapline.Bus = (*Faulty)(nil)

// Fault is what happens to one message or question on its way. The zero Fault
// lets it through.
type Fault struct {
	Drop  bool
	Delay time.Duration
	// Copies is how many more times a message arrives, all after the same delay.
	// A question is asked once.
	Copies int
}

// Faulty is a Bus whose network misbehaves as Fault says. Delayed messages are
// overtaken by later ones. Safe for use from several goroutines.
type Faulty struct {
	snapline.Bus
	// Fault is asked once for each Send and Ask, possibly by several goroutines
	// at once. nil lets everything through.
	Fault func(to snapline.Address, msg []byte) Fault

	mu      sync.Mutex
	pending map[*time.Timer]struct{}
	sending sync.WaitGroup
	closed  bool
}

// Send implements snapline.Bus. A message that is lost is no error.
func (f *Faulty) Send(ctx context.Context, to snapline.Address, msg []byte) error {
	fault := f.fate(to, msg)
	if fault.Drop {
		return check(ctx, to)
	}
	if fault.Delay > 0 {
		if err := check(ctx, to); err != nil {
			return err
		}
		f.later(fault, to, bytes.Clone(msg))
		return nil
	}
	for range 1 + fault.Copies {
		if err := f.Bus.Send(ctx, to, msg); err != nil {
			return err
		}
	}
	return nil
}

// Ask implements snapline.Bus. A question that is lost waits for ctx to end.
func (f *Faulty) Ask(ctx context.Context, to snapline.Address, question []byte) ([]byte, error) {
	fault := f.fate(to, question)
	var arrives <-chan time.Time // nil: never
	if !fault.Drop {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		arrives = t.C
	}
	select {
	case <-arrives:
		return f.Bus.Ask(ctx, to, question)
	case <-ctx.Done():
		return nil, fmt.Errorf("ask %s: %w: %w", to, snapline.ErrNoAnswer, ctx.Err())
	}
}

// Close drops the messages that are still under way; when it returns none will
// arrive any more.
func (f *Faulty) Close() {
	f.mu.Lock()
	f.closed = true
	for t := range f.pending {
		if t.Stop() {
			f.sending.Done()
		}
	}
	f.pending = nil
	f.mu.Unlock()
	f.sending.Wait()
}

func (f *Faulty) fate(to snapline.Address, msg []byte) Fault {
	if f.Fault == nil {
		return Fault{}
	}
	return f.Fault(to, msg)
}

func (f *Faulty) later(fault Fault, to snapline.Address, msg []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if f.pending == nil {
		f.pending = map[*time.Timer]struct{}{}
	}
	f.sending.Add(1)
	var t *time.Timer
	t = time.AfterFunc(fault.Delay, func() {
		defer f.sending.Done()
		f.mu.Lock() // also waits until t is set
		delete(f.pending, t)
		f.mu.Unlock()
		for range 1 + fault.Copies {
			_ = f.Bus.Send(context.Background(), to, msg) // as lost as any other
		}
	})
	f.pending[t] = struct{}{}
}

// Lossy returns a Fault function that loses, repeats and delays messages by
// chance, the same way for the same seed and order of messages: drop and repeat
// are probabilities, delays are spread evenly up to maxDelay.
func Lossy(seed uint64, drop, repeat float64, maxDelay time.Duration) func(snapline.Address, []byte) Fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(snapline.Address, []byte) Fault {
		mu.Lock()
		defer mu.Unlock()
		var f Fault
		f.Drop = rng.Float64() < drop
		if rng.Float64() < repeat {
			f.Copies = 1
		}
		if maxDelay > 0 {
			f.Delay = time.Duration(rng.Int64N(int64(maxDelay)))
		}
		return f
	}
}
