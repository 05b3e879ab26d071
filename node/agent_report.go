package node

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// report tells the coordinator how far some work has come, until the returned
// function is called or ctx ends. It runs as one of the work's goroutines.
func (a *Agent) report(ctx context.Context, work *sync.WaitGroup, t telemetry, done func() int64) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	work.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			t.Bytes = done()
			if b, err := json.Marshal(t); err == nil {
				_ = a.Bus.Send(ctx, toProgress, b) // nobody needs it
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return stop
}

func (r *memberRunner) report(d *round, step string, total int64, done func() int64) (stop func()) {
	return r.agent.report(d.ctx, &d.work, telemetry{Group: r.key.group, Round: d.number, Member: r.key.member, Step: step, Total: total}, done)
}

func (r *restoreRunner) report(ctx context.Context, op snapline.OperationID, m snapline.MemberName, step string, total int64, done func() int64) (stop func()) {
	return r.agent.report(ctx, &r.work, telemetry{Op: op, Member: m, Step: step, Total: total}, done)
}
