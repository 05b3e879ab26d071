package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"

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
	defer r.releaseDisks(d, spooled.Disks)
	repo, err := r.agent.repository()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(spooled.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	id := snapline.NewSnapshotID(e.Group, d.number)
	var passed atomic.Int64
	stop = r.report(d, "storing", spooled.Bytes, passed.Load)
	object, err := repo.Put(d.ctx, id, r.key.member, &countingReader{&contextReader{d.ctx, f}, &passed})
	stop()
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	disks, err := r.storeDisks(d, repo, id, spooled.Disks)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	proof, err := r.storeEvidence(d, repo, id)
	if err != nil {
		return nil, fmt.Errorf("store evidence: %w", err)
	}
	report := d.report
	report.PauseMS = spooled.PauseMS
	return protocol.Kept{Round: d.number, Part: snapline.MemberSnapshot{
		Name: r.key.member, Host: r.agent.Host, VM: info, Capture: report, Object: object, Disks: disks, Evidence: proof,
	}}, nil
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
