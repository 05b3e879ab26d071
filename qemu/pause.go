package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/snapline/snapline/qemu/qmp"
)

// pause is a stop of ours: who watches over it and when it began.
type pause struct {
	guard  *hold
	ended  bool        // seen by held
	events *qmp.Events // since before the stop
	began  time.Time   // QEMU's STOP event
}

// errPauseEnded says that a capture can no longer count on the pause.
var errPauseEnded = errors.New("the pause ended before the cut: its time was over, or somebody else resumed the VM")

// Pause stops the VM under a guard. Pausing a VM that is paused replaces the
// time that is left.
func (v *VM) Pause(ctx context.Context, atMost time.Duration) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pause != nil {
		if err := v.pause.guard.extend(ctx, atMost); err != nil {
			return fmt.Errorf("pause vm %s: %w", v.name, err)
		}
		return nil
	}
	p, err := v.stop(ctx, atMost)
	if err != nil {
		return fmt.Errorf("pause vm %s: %w", v.name, err)
	}
	v.pause = p
	return nil
}

// Resume lets the VM run, and ends the guard. It also starts a VM that Load has
// left paused.
func (v *VM) Resume(ctx context.Context) error {
	if err := v.restored.resuming(); err != nil {
		return fmt.Errorf("resume vm %s: %w", v.name, err)
	}
	if err := v.Plug(ctx); err != nil {
		return err
	}
	if err := v.keeper.resuming(ctx); err != nil {
		return fmt.Errorf("resume vm %s: %w", v.name, err)
	}
	if _, err := qmp.Run(ctx, v.client, qmp.Cont{}); err != nil {
		return fmt.Errorf("resume vm %s: %w", v.name, err)
	}
	v.keeper.release()
	v.restored.hasRun()
	v.forgetPause()
	return nil
}

// unpause resumes the VM if it is ours that paused it. With the connection
// gone there is nothing left to resume, or the guard does it.
func (v *VM) unpause(ctx context.Context) error {
	if v.currentPause() == nil {
		return nil
	}
	select {
	case <-v.gone:
		v.forgetPause()
		return nil
	default:
		return v.Resume(ctx)
	}
}

// currentPause is the pause of ours; nil if the VM runs.
func (v *VM) currentPause() *pause {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pause
}

// forgetPause ends the guard; the VM runs.
func (v *VM) forgetPause() {
	v.mu.Lock()
	p := v.pause
	v.pause = nil
	v.mu.Unlock()
	if p != nil {
		p.end()
	}
}

// stop starts a guard and then stops the VM. The caller owns the pause.
func (v *VM) stop(ctx context.Context, atMost time.Duration) (*pause, error) {
	// Without a guard nothing may stay paused.
	lost := func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		qmp.Run(ctx, v.client, qmp.Cont{})
	}
	guard, err := v.watchOver(ctx, atMost, lost)
	if err != nil {
		return nil, err
	}
	p := &pause{guard: guard, events: v.client.Subscribe()}
	if err := p.stop(ctx, v.client); err != nil {
		qmp.Run(context.WithoutCancel(ctx), v.client, qmp.Cont{}) // it may have stopped
		p.end()
		return nil, err
	}
	return p, nil
}

func (p *pause) stop(ctx context.Context, c *qmp.Client) error {
	st, err := qmp.Run(ctx, c, qmp.QueryStatus{})
	if err != nil {
		return err
	}
	if !st.Running {
		return fmt.Errorf("the VM is not running but %s", st.Status)
	}
	if _, err := qmp.Run(ctx, c, qmp.Stop{}); err != nil {
		return err
	}
	for { // STOP is sent before the answer, so it is waiting
		ev, err := p.events.Next(ctx)
		if err != nil {
			return err
		}
		if ev.Name == "STOP" {
			p.began = ev.At
			return nil
		}
	}
}

// held reports whether the VM has been stopped all the time. Called by the one
// who captures.
func (p *pause) held() bool {
	for {
		ev, ok := p.events.TryNext()
		if !ok {
			return !p.ended && !p.guard.fired()
		}
		if ev.Name == "RESUME" {
			p.ended = true
		}
	}
}

func (p *pause) end() {
	p.guard.release()
	p.events.Close()
}
