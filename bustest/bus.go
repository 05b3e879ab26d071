package bustest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/snapline/snapline"
)

var (
	_ snapline.Bus = (*Bus)(nil)
	_ snapline.Bus = end{}
)

// Bus is a snapline.Bus in memory: nothing is lost, and each receiver gets its
// messages in the order of Send. Everybody uses the same one, and As says who
// speaks; the Bus itself speaks as nobody. Its zero value is ready; so is what
// NewBus returns.
type Bus struct {
	mu        sync.Mutex
	receivers map[snapline.Address][]*mailbox
	answerers map[snapline.Address][]*answerer
}

// NewBus returns a Bus that nobody listens to yet.
func NewBus() *Bus { return &Bus{} }

// As returns the bus as somebody's: receivers see from as the sender.
func (b *Bus) As(from snapline.Address) snapline.Bus { return end{b, from} }

// end is one user's end of a Bus.
type end struct {
	*Bus
	from snapline.Address
}

func (e end) Send(ctx context.Context, to snapline.Address, msg []byte) error {
	return e.send(ctx, e.from, to, msg)
}

func (e end) Ask(ctx context.Context, to snapline.Address, question []byte) ([]byte, error) {
	return e.ask(ctx, e.from, to, question)
}

// Send implements snapline.Bus.
func (b *Bus) Send(ctx context.Context, to snapline.Address, msg []byte) error {
	return b.send(ctx, "", to, msg)
}

func (b *Bus) send(ctx context.Context, from, to snapline.Address, msg []byte) error {
	if err := check(ctx, to); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.receivers[to] {
		r.put(letter{from, bytes.Clone(msg)})
	}
	return nil
}

// Receive implements snapline.Bus. handle must not call stop.
func (b *Bus) Receive(at snapline.Address, handle func(from snapline.Address, msg []byte)) (func(), error) {
	if err := check(context.Background(), at); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	m := newMailbox(handle)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.receivers == nil {
		b.receivers = map[snapline.Address][]*mailbox{}
	}
	b.receivers[at] = append(b.receivers[at], m)
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.receivers[at] = without(b.receivers[at], m)
		b.mu.Unlock()
		m.close()
	}), nil
}

// Ask implements snapline.Bus. All who serve the address are asked; the first
// answer counts.
func (b *Bus) Ask(ctx context.Context, to snapline.Address, question []byte) ([]byte, error) {
	return b.ask(ctx, "", to, question)
}

func (b *Bus) ask(ctx context.Context, from, to snapline.Address, question []byte) ([]byte, error) {
	if err := check(ctx, to); err != nil {
		return nil, fmt.Errorf("ask: %w: %w", snapline.ErrNoAnswer, err)
	}
	reply, ok := b.question(from, to, bytes.Clone(question))
	if !ok {
		return nil, fmt.Errorf("ask %s: %w: nobody is there", to, snapline.ErrNoAnswer)
	}
	select {
	case answer := <-reply:
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask %s: %w: %w", to, snapline.ErrNoAnswer, ctx.Err())
	}
}

func (b *Bus) question(from, to snapline.Address, question []byte) (<-chan []byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reply := make(chan []byte, len(b.answerers[to]))
	for _, a := range b.answerers[to] {
		a.start(from, question, reply)
	}
	return reply, len(b.answerers[to]) > 0
}

// Answer implements snapline.Bus. stop waits until every answer has returned.
func (b *Bus) Answer(at snapline.Address, answer func(ctx context.Context, from snapline.Address, question []byte) []byte) (func(), error) {
	if err := check(context.Background(), at); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	a := &answerer{answer: answer}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answerers == nil {
		b.answerers = map[snapline.Address][]*answerer{}
	}
	b.answerers[at] = append(b.answerers[at], a)
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.answerers[at] = without(b.answerers[at], a)
		b.mu.Unlock()
		a.cancel()
		a.running.Wait()
	}), nil
}

// answerer serves questions until it is cancelled.
type answerer struct {
	answer  func(ctx context.Context, from snapline.Address, question []byte) []byte
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// start is called under the bus's lock, and so never after stop's Wait began.
func (a *answerer) start(from snapline.Address, question []byte, reply chan<- []byte) {
	a.running.Go(func() {
		if b := a.answer(a.ctx, from, question); b != nil {
			reply <- bytes.Clone(b)
		}
	})
}

func without[T comparable](s []T, x T) []T {
	return slices.DeleteFunc(slices.Clone(s), func(y T) bool { return x == y })
}
