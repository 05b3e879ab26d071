package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/qemu/qmp"
)

// stopped runs act and returns how long the machine was stopped meanwhile, in
// milliseconds, by the times of QEMU's own STOP and RESUME events.
func stopped(ctx context.Context, c *qmp.Client, act func() error) (float64, error) {
	events := c.Subscribe()
	defer events.Close()
	if err := act(); err != nil {
		return 0, err
	}
	var stop time.Time
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return 0, err
		}
		switch e.Name {
		case "STOP":
			stop = e.At
		case "RESUME":
			if stop.IsZero() {
				return 0, fmt.Errorf("RESUME without STOP")
			}
			return ms(e.At.Sub(stop)), nil
		}
	}
}

// take takes a snapshot and waits for its end.
func take(ctx context.Context, c *api.Client, g snapline.GroupName, s snapline.Strategy) (*snapline.TakeResult, error) {
	op, err := c.Take(ctx, snapline.TakeRequest{Group: g, Strategy: s})
	if err != nil {
		return nil, err
	}
	steps, err := c.Progress(ctx, op.ID, 0)
	if err != nil {
		return nil, err
	}
	for range steps {
	}
	if op, err = c.Operation(ctx, op.ID); err != nil {
		return nil, err
	}
	if op.Error != nil {
		return nil, op.Error
	}
	if op.Take == nil {
		return nil, fmt.Errorf("operation %s is %s", op.ID, op.State)
	}
	return op.Take, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
