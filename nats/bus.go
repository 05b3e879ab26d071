package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"

	natsio "github.com/nats-io/nats.go"

	"github.com/snapline/snapline"
)

var _ snapline.Bus = (*Conn)(nil)

// Send implements snapline.Bus. It never waits for the network; without a
// connection it fails with ErrDisconnected.
func (c *Conn) Send(ctx context.Context, to snapline.Address, msg []byte) error {
	subj, err := subject(msgPrefix, c.as, to)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	if err := offline(c.nc.Publish(subj, msg)); err != nil {
		return fmt.Errorf("send to %s (%d bytes): %w", to, len(msg), err)
	}
	return nil
}

// Receive implements snapline.Bus. Messages of one sender arrive in the order
// in which they were sent. Neither handle nor what it calls may call stop: it
// would wait for itself. Without a connection Receive succeeds, and takes
// effect with the next one.
func (c *Conn) Receive(at snapline.Address, handle func(from snapline.Address, msg []byte)) (func(), error) {
	subj, err := subject(msgPrefix, anybody, at)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	var open onlyWhile
	sub, err := c.nc.Subscribe(subj, func(m *natsio.Msg) {
		open.do(func() { handle(sender(m.Subject), m.Data) })
	})
	if err != nil {
		return nil, fmt.Errorf("receive at %s: %w", at, err)
	}
	c.settle()
	return sync.OnceFunc(func() {
		_ = sub.Unsubscribe() // fails only on a closed Conn
		open.stop()
	}), nil
}

// Ask implements snapline.Bus. An address that nobody serves is known at once;
// one whose server does not answer, when ctx ends: give it a deadline. A lost
// connection ends the waiting too.
func (c *Conn) Ask(ctx context.Context, to snapline.Address, question []byte) ([]byte, error) {
	subj, err := subject(askPrefix, c.as, to)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	// The client alone would wait for an answer that a lost connection has taken
	// with it.
	bound, release := c.link.bind(ctx)
	defer release()
	m, err := c.nc.RequestWithContext(bound, subj, question)
	switch {
	case err == nil:
		return m.Data, nil
	case errors.Is(err, natsio.ErrNoResponders):
		return nil, fmt.Errorf("ask %s: %w: nobody is there", to, snapline.ErrNoAnswer)
	case errors.Is(err, natsio.ErrMaxPayload):
		return nil, fmt.Errorf("ask %s (%d bytes): %w", to, len(question), err)
	case bound.Err() != nil:
		err = context.Cause(bound)
	}
	return nil, fmt.Errorf("ask %s: %w: %w", to, snapline.ErrNoAnswer, offline(err))
}

// Answer implements snapline.Bus. The context that answer gets ends with stop
// or Close; stop waits until every answer that is running has returned, so
// answer must not call it. A question is not heard when its answer is to go
// elsewhere than to who asks: servers hold nobody to that.
func (c *Conn) Answer(at snapline.Address, answer func(ctx context.Context, from snapline.Address, question []byte) []byte) (func(), error) {
	subj, err := subject(askPrefix, anybody, at)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	var open onlyWhile
	var running sync.WaitGroup
	sub, err := c.nc.Subscribe(subj, func(m *natsio.Msg) {
		if !ownInbox(m.Subject, m.Reply) {
			c.log.Warn("question ignored: its answer was to go to another than who asks", "from", sender(m.Subject), "answer to", m.Reply)
			return
		}
		open.do(func() {
			running.Go(func() {
				if a := answer(ctx, sender(m.Subject), m.Data); a != nil {
					// A lost answer is the asker's to notice.
					_ = m.Respond(a)
				}
			})
		})
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("answer at %s: %w", at, err)
	}
	c.settle()
	return sync.OnceFunc(func() {
		_ = sub.Unsubscribe() // fails only on a closed Conn
		open.stop()
		cancel()
		running.Wait()
	}), nil
}

// offline turns the client's several ways to say that there is no connection
// into ErrDisconnected. The buffer limit is one of them: there is no buffer.
func offline(err error) error {
	if errors.Is(err, natsio.ErrReconnectBufExceeded) || errors.Is(err, natsio.ErrDisconnected) {
		return ErrDisconnected
	}
	return err
}
