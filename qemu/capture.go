package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
	"github.com/snapline/snapline/qemu/qmp"
)

const (
	methodBackground  = "background-snapshot"
	methodStopAndCopy = "stop-and-copy"
)

// descriptorName is what the pipe is called inside QEMU.
const descriptorName = "snapline"

// cleanupTime bounds what is done after a failure, when the caller's context
// may have ended already.
const cleanupTime = 10 * time.Second

// capture is one snapshot of a VM.
type capture struct {
	vm       *VM
	report   snapline.CaptureReport
	settings *settings
	events   *qmp.Events // since before the migration began
	spool    *spool
	disks    *disk.Set // nil: there are none, or none wanted
	guard    *hold     // of a live capture; a stopped one has the pause's

	handed    atomic.Bool   // QEMU has the pipe
	migrating atomic.Bool   // "migrate" was sent
	primed    chan struct{} // closed when Prime is through
	finished  chan struct{} // closed when the guard is to be content
	cancel    sync.Once
	cancelled chan struct{}
}

var _ snapline.Capture = (*capture)(nil)

// Prime chooses the method, makes the spool and gives QEMU the pipe.
func (v *VM) Prime(ctx context.Context, path string) (snapline.Capture, error) {
	c := &capture{
		vm: v, primed: make(chan struct{}), finished: make(chan struct{}), cancelled: make(chan struct{}),
	}
	v.mu.Lock()
	busy := v.capture != nil
	if !busy {
		v.capture = c
	}
	v.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("capture vm %s: another capture is under way", v.name)
	}
	err := c.prime(ctx, path)
	close(c.primed)
	if err != nil {
		c.Cancel()
		return nil, fmt.Errorf("capture vm %s: %w", v.name, err)
	}
	return c, nil
}

func (c *capture) prime(ctx context.Context, path string) error {
	m, err := qmp.Run(ctx, c.vm.client, qmp.QueryMigrate{})
	if err != nil {
		return err
	}
	if m.Under() {
		return fmt.Errorf("a migration is under way (%s): wait for its end", m.Status)
	}
	s, err := readSettings(ctx, c.vm.client)
	if err != nil {
		return err
	}
	if err := c.choose(ctx, s); err != nil {
		return err
	}
	if err := c.prepareDisks(ctx, filepath.Base(path)); err != nil {
		return err
	}
	c.events = c.vm.client.Subscribe()
	if c.spool, err = newSpool(path); err != nil {
		return err
	}
	if c.report.Method == methodStopAndCopy {
		return c.handOver(ctx)
	}
	if c.guard, err = c.vm.watchOver(ctx, c.vm.hypervisor.patience, c.Cancel); err != nil {
		return err
	}
	go c.keepAlive(c.guard)
	if c.canPrefault(ctx) {
		err = c.prefault(ctx)
	} else {
		err = c.handOver(ctx)
	}
	return errors.Join(err, c.flushDisks()) // last, for the cut comes next
}

// choose applies the settings of the best method that QEMU accepts.
func (c *capture) choose(ctx context.Context, s *settings) error {
	c.settings = s
	c.report.Method = methodBackground
	switch forced := c.vm.hypervisor.opts.ForceStopAndCopy; {
	case forced != "":
		c.report.Why = forced
	case !s.offers(capBackground):
		c.report.Why = fmt.Sprintf("QEMU %s has no background snapshots (6.0 or newer has)", c.vm.client.Version())
	case c.vm.proc.canThaw() != nil:
		c.report.Why = "this process may not free a guest that a broken-off background snapshot leaves frozen (needs CAP_SYS_PTRACE): " + c.vm.proc.canThaw().Error()
	default:
		err := s.apply(ctx, true)
		if !qmp.IsRefused(err) {
			return err
		}
		c.report.Why = err.Error() // no userfaultfd, memory that it does not cover, …
	}
	c.report.Method = methodStopAndCopy
	return s.apply(ctx, false)
}

// handOver passes the pipe's end to QEMU.
func (c *capture) handOver(ctx context.Context) error {
	fd, err := control(c.spool.write)
	if err != nil {
		return err
	}
	if _, err := qmp.RunWithFD(ctx, c.vm.client, qmp.GetFD{Name: descriptorName}, int(fd)); err != nil {
		return err
	}
	c.handed.Store(true)
	c.spool.handOver()
	return nil
}

func (c *capture) migrate(ctx context.Context) error {
	c.migrating.Store(true)
	_, err := qmp.Run(ctx, c.vm.client, qmp.Migrate{URI: "fd:" + descriptorName})
	return err
}

// Cut makes the snapshot by the chosen method.
func (c *capture) Cut(ctx context.Context) (snapline.CaptureReport, error) {
	cut := c.cutLive
	if c.report.Method == methodStopAndCopy {
		cut = c.cutStopped
	}
	err := c.freezeDisks(ctx)
	if err == nil {
		err = cut(ctx)
	}
	if err != nil {
		c.Cancel()
		return c.report, fmt.Errorf("cut vm %s: %w", c.vm.name, err)
	}
	return c.report, nil
}

// Progress returns how many bytes the spool holds.
func (c *capture) Progress() int64 { return c.spool.bytes.Load() }

// Finish waits for the end of the stream and of the migration.
func (c *capture) Finish(ctx context.Context) (snapline.Spooled, error) {
	done, err := c.finish(ctx)
	if err != nil {
		c.Cancel()
		return done, fmt.Errorf("capture vm %s: %w", c.vm.name, err)
	}
	return done, nil
}

func (c *capture) finish(ctx context.Context) (snapline.Spooled, error) {
	if !c.migrating.Load() {
		return snapline.Spooled{}, errors.New("finish before cut")
	}
	if err := c.settleDisks(); err != nil {
		return snapline.Spooled{}, err
	}
	select {
	case <-c.spool.done:
	case <-ctx.Done():
		return snapline.Spooled{}, context.Cause(ctx)
	case <-c.vm.gone:
		return snapline.Spooled{}, errors.New("QEMU went away")
	}
	if c.spool.err != nil {
		return snapline.Spooled{}, c.spool.err
	}
	if err := c.completed(ctx); err != nil {
		return snapline.Spooled{}, err
	}
	if _, err := checkStream(io.NewSectionReader(c.spool.file, 0, streamHeader)); err != nil {
		return snapline.Spooled{}, err
	}
	if c.report.Method == methodStopAndCopy {
		if err := c.resumeCopied(ctx); err != nil {
			return snapline.Spooled{}, err
		}
	}
	close(c.finished)
	if c.guard != nil {
		c.guard.release()
		if c.guard.fired() {
			return snapline.Spooled{}, errStalled
		}
	}
	if err := c.settings.restore(ctx); err != nil {
		return snapline.Spooled{}, err
	}
	if err := c.spool.file.Close(); err != nil {
		return snapline.Spooled{}, fmt.Errorf("spool: %w", err)
	}
	c.leave()
	return snapline.Spooled{Path: c.spool.path, Bytes: c.Progress(), PauseMS: c.report.PauseMS, Disks: c.frozenDisks()}, nil
}

// completed waits until QEMU says that the migration is over, and how.
func (c *capture) completed(ctx context.Context) error {
	for {
		m, err := qmp.Run(ctx, c.vm.client, qmp.QueryMigrate{})
		if err != nil {
			return err
		}
		switch {
		case m.Status == "completed":
			return nil
		case !m.Under():
			return migrationError(m)
		}
		// Events may be older than the answer: each one is a reason to ask again.
		if _, err := c.events.Next(ctx); err != nil {
			return err
		}
	}
}

func migrationError(m qmp.Migration) error {
	if m.Error != "" {
		return fmt.Errorf("QEMU's migration %s: %s", m.Status, m.Error)
	}
	return fmt.Errorf("QEMU's migration %s (see what it printed)", m.Status)
}

// leave makes room for the next capture.
func (c *capture) leave() {
	if c.events != nil {
		c.events.Close()
	}
	c.vm.mu.Lock()
	if c.vm.capture == c {
		c.vm.capture = nil
	}
	c.vm.mu.Unlock()
}
