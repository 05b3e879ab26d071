package main

import (
	"context"
	"fmt"
	"time"

	"github.com/snapline/snapline/lab/bank"
)

const (
	// moneyLimit is for every stream to go on: TCP's pauses between two attempts
	// have grown to a minute while a host was cut off.
	moneyLimit = 2 * time.Minute
	drainLimit = 30 * time.Second
)

// bankCheck holds the books of a bank against each other.
type bankCheck struct{ members []*bank.Client }

func (bankCheck) start(context.Context, uint64) (stop func()) { return func() {} }

// look waits until money moves on every stream, and then wants all of it to be
// there. A snapshot may have been taken while the auditor kept the members quiet:
// brought back, they wait for him to let them go on.
func (b bankCheck) look(ctx context.Context) (string, error) {
	if err := await(ctx, moneyLimit, func() error { return b.resume(ctx) }); err != nil {
		return "", err
	}
	var before map[string]uint64
	err := await(ctx, moneyLimit, func() error {
		now, err := b.received(ctx)
		if err != nil {
			return err
		}
		if before == nil {
			before = now
		}
		for flow, n := range now {
			if n <= before[flow] {
				return fmt.Errorf("no money moves on %s", flow)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	r, err := bank.Audit(ctx, b.members, drainLimit)
	if err == nil && !r.OK() {
		err = fmt.Errorf("the books are not right:\n%s", r.Checks)
	}
	return fmt.Sprintf("%d transfers, books right", r.Transfers), err
}

func (b bankCheck) resume(ctx context.Context) error {
	for _, c := range b.members {
		if err := c.Resume(ctx); err != nil {
			return err
		}
	}
	return nil
}

// received counts what has arrived on every stream.
func (b bankCheck) received(ctx context.Context) (map[string]uint64, error) {
	all := map[string]uint64{}
	for _, c := range b.members {
		s, err := c.State(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range s.In {
			all[fmt.Sprintf("%s from %s to %s", f.Transport, f.Peer, s.Name)] = f.Transfers
		}
	}
	return all, nil
}
