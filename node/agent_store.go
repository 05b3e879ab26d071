package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// store waits for the capture's end and puts it into the repository.
func (r *memberRunner) store(d *round, e protocol.Store) (protocol.Input, error) {
	info := d.vm.Info()
	stop := r.report(d, "capturing", info.RAMBytes, d.capture.Progress)
	spooled, err := d.capture.Finish(d.ctx)
	stop()
	if err != nil {
		return nil, err
	}
	defer os.Remove(spooled.Path)
	repo, err := r.agent.repository()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(spooled.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	counted := &countingReader{r: &contextReader{d.ctx, f}}
	stop = r.report(d, "storing", spooled.Bytes, counted.Count)
	defer stop()
	object, err := repo.Put(d.ctx, snapline.NewSnapshotID(e.Group, d.number), r.key.member, counted)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	report := d.report
	report.PauseMS = spooled.PauseMS
	return protocol.Kept{Round: d.number, Part: snapline.MemberSnapshot{
		Name: r.key.member, Host: r.agent.Host, VM: info, Capture: report, Object: object,
	}}, nil
}

// report tells the coordinator how far a member's data has come, until the
// returned function is called or the round ends.
func (r *memberRunner) report(d *round, step string, total int64, done func() int64) (stop func()) {
	ctx, stop := context.WithCancel(d.ctx)
	d.work.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			b, err := json.Marshal(telemetry{Group: r.key.group, Round: d.number, Member: r.key.member, Step: step, Bytes: done(), Total: total})
			if err == nil {
				_ = r.agent.Bus.Send(ctx, toProgress, b) // nobody needs it
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

// contextReader makes a long read of a local file stop when the round does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
