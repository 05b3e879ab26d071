package bustest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryBus(t *testing.T) {
	bustest.TestBus(t, func(*testing.T) (a, b snapline.Bus) {
		bus := bustest.NewBus()
		return bus.As(snapline.ToCoordinator), bus.As(snapline.ToAgent("h1"))
	})
}

func TestMemoryStore(t *testing.T) {
	bustest.TestStore(t, func(*testing.T) snapline.Store { return bustest.NewStore() })
}

func TestFaultyWithoutFaultsIsABus(t *testing.T) {
	bustest.TestBus(t, func(t *testing.T) (a, b snapline.Bus) {
		bus := bustest.NewBus()
		one := &bustest.Faulty{Bus: bus.As(snapline.ToCoordinator)}
		other := &bustest.Faulty{Bus: bus.As(snapline.ToAgent("h1"))}
		t.Cleanup(one.Close)
		t.Cleanup(other.Close)
		return one, other
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := map[string]bustest.Fault{
			"lost":   {Drop: true},
			"late":   {Delay: time.Second},
			"thrice": {Copies: 2},
			"never":  {Delay: time.Hour},
		}
		bus := &bustest.Faulty{Bus: bustest.NewBus(), Fault: func(_ snapline.Address, m []byte) bustest.Fault {
			return faults[string(m)]
		}}
		var got []string
		stop, err := bus.Receive("coordinator", func(_ snapline.Address, m []byte) { got = append(got, string(m)) })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		for _, m := range []string{"lost", "late", "thrice", "never", "plain"} {
			if err := bus.Send(t.Context(), "coordinator", []byte(m)); err != nil {
				t.Errorf("Send(%s): %v", m, err)
			}
		}
		<-time.After(time.Minute) // of the bubble's clock: until everything is quiet
		synctest.Wait()
		bus.Close() // drops "never"
		want := []string{"thrice", "thrice", "thrice", "plain", "late"}
		if len(got) != len(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

func TestLostQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &bustest.Faulty{Bus: bustest.NewBus(), Fault: func(snapline.Address, []byte) bustest.Fault {
			return bustest.Fault{Drop: true}
		}}
		stop, err := bus.Answer("agent.h1", func(_ context.Context, _ snapline.Address, q []byte) []byte { return q })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = bus.Ask(ctx, "agent.h1", nil)
		if !errors.Is(err, snapline.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ask = %v", err)
		}
	})
}

func TestLossyIsReproducible(t *testing.T) {
	draw := func(seed uint64) (fs [50]bustest.Fault) {
		f := bustest.Lossy(seed, 0.2, 0.2, time.Second)
		for i := range fs {
			fs[i] = f("coordinator", nil)
		}
		return fs
	}
	if draw(1) != draw(1) {
		t.Error("the same seed gave other faults")
	}
	if draw(1) == draw(2) {
		t.Error("another seed gave the same faults")
	}
}
