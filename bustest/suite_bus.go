package bustest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// patience bounds every wait of the suites. Reaching it fails the test.
const patience = 10 * time.Second

// TestBus checks what snapline.Bus promises. open returns two ends of one bus,
// which may be the same: the first one is the coordinator's, the second one that
// of host h1's agent. Its t.Cleanup closes them.
func TestBus(t *testing.T, open func(t *testing.T) (a, b snapline.Bus)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b snapline.Bus)
	}{
		{"message arrives", testArrives},
		{"messages keep their order", testOrder},
		{"addresses are apart", testAddresses},
		{"the sender is known", testSender},
		{"stopped receiver is silent", testStopReceive},
		{"stop waits for the handler", testStopWaits},
		{"message is a copy", testMessageCopied},
		{"question is answered", testAnswer},
		{"questions are answered at the same time", testAnswersConcurrent},
		{"no answer is left to others", testNilAnswer},
		{"nobody answers", testNobody},
		{"answer takes too long", testTooLong},
		{"stopped answerer is gone", testStopAnswer},
		{"bad addresses are refused", testBadAddress},
		{"ended context", testBusContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			c.test(t, a, b)
		})
	}
}

const somewhere = snapline.Address("agent.h1")

func receive(t *testing.T, b snapline.Bus, at snapline.Address, handle func([]byte)) (stop func()) {
	t.Helper()
	stop, err := b.Receive(at, func(_ snapline.Address, m []byte) { handle(m) })
	if err != nil {
		t.Fatalf("Receive(%s): %v", at, err)
	}
	t.Cleanup(stop)
	return stop
}

func answer(t *testing.T, b snapline.Bus, at snapline.Address, f func(context.Context, []byte) []byte) (stop func()) {
	t.Helper()
	stop, err := b.Answer(at, func(ctx context.Context, _ snapline.Address, q []byte) []byte { return f(ctx, q) })
	if err != nil {
		t.Fatalf("Answer(%s): %v", at, err)
	}
	t.Cleanup(stop)
	return stop
}

func send(t *testing.T, b snapline.Bus, to snapline.Address, msg []byte) {
	t.Helper()
	if err := b.Send(t.Context(), to, msg); err != nil {
		t.Fatalf("Send(%s): %v", to, err)
	}
}

// next waits for one value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
		panic("unreachable")
	}
}

func testArrives(t *testing.T, a, b snapline.Bus) {
	got := make(chan []byte, 2)
	receive(t, b, somewhere, func(m []byte) { got <- m })
	for _, msg := range [][]byte{[]byte("hello"), {}, bytes.Repeat([]byte{0, 0xff}, 100_000)} {
		send(t, a, somewhere, msg)
		if m := next(t, got); !bytes.Equal(m, msg) {
			t.Fatalf("sent %d bytes, got %d others", len(msg), len(m))
		}
	}
}

func testOrder(t *testing.T, a, b snapline.Bus) {
	const n = 1000
	got := make(chan uint32, n)
	receive(t, b, somewhere, func(m []byte) { got <- binary.BigEndian.Uint32(m) })
	for i := range uint32(n) {
		send(t, a, somewhere, binary.BigEndian.AppendUint32(nil, i))
	}
	for i := range uint32(n) {
		if g := next(t, got); g != i {
			t.Fatalf("message %d came as number %d", g, i)
		}
	}
}

func testAddresses(t *testing.T, a, b snapline.Bus) {
	type arrival struct{ at, msg string }
	got := make(chan arrival, 8)
	note := func(at snapline.Address) func([]byte) {
		return func(m []byte) { got <- arrival{string(at), string(m)} }
	}
	receive(t, b, snapline.ToAgent("h1"), note(snapline.ToAgent("h1")))
	for _, at := range []snapline.Address{snapline.ToCoordinator, "coordinator.hello"} {
		receive(t, a, at, note(at))
	}
	send(t, a, "agent.h3", []byte("nobody's"))
	send(t, a, snapline.ToAgent("h1"), []byte("x"))
	if g := next(t, got); g != (arrival{"agent.h1", "x"}) {
		t.Fatalf("got %+v", g)
	}
	for _, to := range []snapline.Address{"coordinator.hello", snapline.ToCoordinator} {
		send(t, b, to, []byte("y"))
		if g := next(t, got); g != (arrival{string(to), "y"}) {
			t.Fatalf("got %+v", g)
		}
	}
}

// testSender: both ends see who speaks.
func testSender(t *testing.T, a, b snapline.Bus) {
	got := make(chan snapline.Address, 4)
	for _, end := range []struct {
		bus    snapline.Bus
		at     snapline.Address
		from   snapline.Bus
		sender snapline.Address
	}{{b, somewhere, a, snapline.ToCoordinator}, {a, snapline.ToCoordinator, b, somewhere}} {
		stop, err := end.bus.Receive(end.at, func(from snapline.Address, _ []byte) { got <- from })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		stop, err = end.bus.Answer(end.at, func(_ context.Context, from snapline.Address, _ []byte) []byte { return []byte(from) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		send(t, end.from, end.at, nil)
		if from := next(t, got); from != end.sender {
			t.Errorf("message to %s came from %q, want %q", end.at, from, end.sender)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if from, err := end.from.Ask(ctx, end.at, nil); err != nil || string(from) != string(end.sender) {
			t.Errorf("question to %s came from %q, %v, want %q", end.at, from, err, end.sender)
		}
	}
}

func testStopReceive(t *testing.T, a, b snapline.Bus) {
	var after atomic.Bool
	got := make(chan []byte, 100)
	stop := receive(t, b, somewhere, func(m []byte) {
		if after.Load() {
			t.Error("handler called after stop had returned")
		}
		got <- m
	})
	send(t, a, somewhere, []byte("1"))
	next(t, got)
	stop()
	after.Store(true)
	send(t, a, somewhere, []byte("2"))
	stop() // twice is fine

	// A second receiver that gets a later message shows that the first one has
	// had its chance.
	second := make(chan []byte, 2)
	receive(t, b, somewhere, func(m []byte) { second <- m })
	send(t, a, somewhere, []byte("3"))
	for string(next(t, second)) != "3" { // "2" may have been under way still
	}
}

func testStopWaits(t *testing.T, a, b snapline.Bus) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	stop := receive(t, b, somewhere, func([]byte) {
		close(entered)
		<-leave
		left.Store(true)
	})
	send(t, a, somewhere, nil)
	next(t, entered)
	stopped := make(chan struct{})
	go func() {
		stop()
		if !left.Load() {
			t.Error("stop returned while the handler was running")
		}
		close(stopped)
	}()
	close(leave)
	next(t, stopped)
}

func testMessageCopied(t *testing.T, a, b snapline.Bus) {
	got := make(chan []byte, 1)
	receive(t, b, somewhere, func(m []byte) { got <- m })
	msg := []byte("before")
	send(t, a, somewhere, msg)
	copy(msg, "after!")
	if m := next(t, got); string(m) != "before" {
		t.Fatalf("got %q: the sender's buffer was shared", m)
	}
}

func testAnswer(t *testing.T, a, b snapline.Bus) {
	answer(t, b, somewhere, func(_ context.Context, q []byte) []byte { return append([]byte("re: "), q...) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, q := range []string{"one", ""} {
		got, err := a.Ask(ctx, somewhere, []byte(q))
		if err != nil || string(got) != "re: "+q {
			t.Fatalf("Ask(%q) = %q, %v", q, got, err)
		}
	}
}

func testAnswersConcurrent(t *testing.T, a, b snapline.Bus) {
	const n = 8
	var all sync.WaitGroup // every answer waits until all questions are there
	all.Add(n)
	answer(t, b, somewhere, func(_ context.Context, q []byte) []byte {
		all.Done()
		all.Wait()
		return q
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	results := make(chan error, n)
	for i := range n {
		go func() {
			q := []byte{byte(i)}
			got, err := a.Ask(ctx, somewhere, q)
			if err == nil && !bytes.Equal(got, q) {
				err = errors.New("got the answer to another question")
			}
			results <- err
		}()
	}
	for range n {
		if err := next(t, results); err != nil {
			t.Error(err)
		}
	}
}

func testNobody(t *testing.T, a, _ snapline.Bus) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := a.Ask(ctx, "agent.nobody", nil)
	if !errors.Is(err, snapline.ErrNoAnswer) {
		t.Fatalf("Ask = %v, want ErrNoAnswer", err)
	}
	if ctx.Err() != nil {
		t.Fatal("an address that nobody serves was waited for")
	}
}

func testTooLong(t *testing.T, a, b snapline.Bus) {
	entered := make(chan struct{}, 1)
	answer(t, b, somewhere, func(ctx context.Context, _ []byte) []byte {
		entered <- struct{}{}
		<-ctx.Done() // ends with stop
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := a.Ask(ctx, somewhere, nil)
		result <- err
	}()
	next(t, entered)
	cancel()
	err := next(t, result)
	if !errors.Is(err, snapline.ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Fatalf("Ask = %v, want ErrNoAnswer and context.Canceled", err)
	}
}

func testStopAnswer(t *testing.T, a, b snapline.Bus) {
	stop := answer(t, b, somewhere, func(_ context.Context, q []byte) []byte { return q })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.Ask(ctx, somewhere, []byte("?")); err != nil {
		t.Fatal(err)
	}
	stop()
	stop() // twice is fine
	// The network may need a moment to know that nobody is there any more; until
	// then nobody answers.
	short, cancelShort := context.WithTimeout(ctx, time.Second)
	defer cancelShort()
	if _, err := a.Ask(short, somewhere, nil); !errors.Is(err, snapline.ErrNoAnswer) {
		t.Fatalf("Ask after stop = %v, want ErrNoAnswer", err)
	}
}

func testBadAddress(t *testing.T, a, _ snapline.Bus) {
	for _, bad := range []snapline.Address{"", ".", "agent.", "agent.*", ">", "agent.H1", "a b", "agent.h1\r\nPUB x"} {
		if err := a.Send(t.Context(), bad, nil); err == nil {
			t.Errorf("Send to %q was accepted", bad)
		}
		if _, err := a.Ask(t.Context(), bad, nil); err == nil {
			t.Errorf("Ask of %q was accepted", bad)
		}
		if stop, err := a.Receive(bad, func(snapline.Address, []byte) {}); err == nil {
			stop()
			t.Errorf("Receive at %q was accepted", bad)
		}
		if stop, err := a.Answer(bad, func(context.Context, snapline.Address, []byte) []byte { return nil }); err == nil {
			stop()
			t.Errorf("Answer at %q was accepted", bad)
		}
	}
}

func testBusContext(t *testing.T, a, b snapline.Bus) {
	answer(t, b, somewhere, func(_ context.Context, q []byte) []byte { return q })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Send(ctx, somewhere, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v, want context.Canceled", err)
	}
	if _, err := a.Ask(ctx, somewhere, nil); !errors.Is(err, snapline.ErrNoAnswer) {
		t.Errorf("Ask = %v, want ErrNoAnswer", err)
	}
}

// testNilAnswer has two serve the address, as while a coordinator takes over from
// one that has not noticed yet.
func testNilAnswer(t *testing.T, a, b snapline.Bus) {
	asked := make(chan struct{}, 1)
	answer(t, a, snapline.ToCoordinator, func(context.Context, []byte) []byte { asked <- struct{}{}; return nil })
	answer(t, a, snapline.ToCoordinator, func(context.Context, []byte) []byte { <-asked; return []byte("mine") })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := b.Ask(ctx, snapline.ToCoordinator, nil); err != nil || string(got) != "mine" {
		t.Errorf("Ask = %q, %v", got, err)
	}
}
