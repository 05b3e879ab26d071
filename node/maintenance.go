package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// The kinds of operations on the repository.
const (
	kindPrune  = "prune"
	kindRepair = "repair"
)

// pruneStep is how much a prune writes anew before it lets rounds that wait go
// first, in bytes: about what a repository on a disk takes ten seconds for. On
// top comes what every step begins with: reading the page maps.
const pruneStep = 1 << 30

// RepositoryInfo says which repository this coordinator uses.
func (c *Coordinator) RepositoryInfo(ctx context.Context) (snapline.RepositoryInfo, error) {
	info := snapline.RepositoryInfo{ID: c.Repository.ID(), Location: c.Location}
	if m, ok := c.Repository.(snapline.Maintainer); ok {
		info.Location = m.Location()
	}
	free, err := c.Repository.Free(ctx)
	if err != nil {
		return info, err
	}
	if free < math.MaxInt64 {
		info.FreeBytes = &free
	}
	return info, nil
}

// Prune starts to delete the snapshots that the request does not keep, and to
// free space.
func (c *Coordinator) Prune(ctx context.Context, r snapline.PruneRequest) (snapline.Operation, error) {
	if err := c.checkPrune(ctx, r); err != nil {
		return snapline.Operation{}, err
	}
	return c.maintain(kindPrune, r.Group, func(ctx context.Context, m snapline.Maintainer, op *operation) error {
		p := &pruning{c: c, m: m, op: op, request: r, result: snapline.PruneResult{DryRun: r.DryRun, Deleted: []snapline.SnapshotID{}}}
		began := time.Now()
		if err := p.run(ctx); err != nil {
			return p.explain(err)
		}
		p.result.DurationMS = sinceMS(began)
		c.Log.Info("pruned", "snapshots", len(p.result.Deleted), "bytes", p.result.Space.BytesDeleted-p.result.Space.BytesWritten, "dry_run", r.DryRun)
		op.finish("done", func(o *snapline.Operation) { o.Prune = &p.result })
		return nil
	})
}

func (c *Coordinator) checkPrune(ctx context.Context, r snapline.PruneRequest) error {
	switch {
	case r.Keep.Last < 0 || r.Keep.Hourly < 0 || r.Keep.Daily < 0:
		return &snapline.Error{Code: snapline.CodeInvalid, Message: "a number of snapshots to keep is negative"}
	case r.Group == "":
		return nil
	case r.Keep == snapline.KeepPolicy{}:
		return &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("which snapshots of %s are to be kept?", r.Group), Hint: "space is freed for all groups together: leave the group out for that alone"}
	}
	_, _, err := c.group(ctx, r.Group)
	if e := (*snapline.Error)(nil); !errors.As(err, &e) || e.Code != snapline.CodeNotFound {
		return err
	}
	// A group that is no longer declared may have snapshots.
	if all, listErr := c.Snapshots(ctx, r.Group); listErr != nil || len(all) > 0 {
		return listErr
	}
	return err
}

// Repair starts to make the repository's indexes anew.
func (c *Coordinator) Repair(context.Context) (snapline.Operation, error) {
	return c.maintain(kindRepair, "", func(ctx context.Context, m snapline.Maintainer, op *operation) error {
		began := time.Now()
		n, err := c.repair(ctx, m, op)
		if err != nil {
			return err
		}
		c.Log.Info("indexes made anew", "packs", n)
		op.finish("done", func(o *snapline.Operation) { o.Repair = &snapline.RepairResult{Packs: n, DurationMS: sinceMS(began)} })
		return nil
	})
}

func (c *Coordinator) repair(ctx context.Context, m snapline.Maintainer, op *operation) (packs int, err error) {
	lease, err := c.leases.exclusive(ctx, leaseRepair, op.state().ID, op.waits)
	if err != nil {
		return 0, err
	}
	defer lease.release()
	op.say(snapline.Progress{Phase: "repair"})
	return m.RepairIndex(ctx, lease.check)
}

// maintain runs an operation on the repository, one at a time. run finishes it,
// or returns why it failed.
func (c *Coordinator) maintain(kind string, g snapline.GroupName, run func(context.Context, snapline.Maintainer, *operation) error) (snapline.Operation, error) {
	m, ok := c.Repository.(snapline.Maintainer)
	if !ok {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("the repository at %s needs no %s", c.Location, kind)}
	}
	id := snapline.OperationID(kind + "-" + strings.ToLower(rand.Text()[:8]))
	op := newOperation(c.Clock, snapline.Operation{ID: id, Kind: kind, Group: g})
	ctx, cancel := context.WithCancel(c.ctx)
	op.cancel = cancel
	c.mu.Lock()
	if other := c.maintaining; other != nil {
		c.mu.Unlock()
		cancel()
		st := other.state()
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("the repository is busy: %s is under way (operation %s)", st.Kind, st.ID), Hint: "wait until it has ended"}
	}
	c.maintaining = op
	c.forget()
	c.ops[id] = op
	c.mu.Unlock()
	op.end = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.maintaining == op {
			c.maintaining = nil
		}
	}
	c.running.Go(func() {
		defer cancel()
		if err := run(ctx, m, op); err != nil {
			problem := c.maintenanceError(ctx, kind, err)
			c.Log.Warn(kind+" failed", "error", problem)
			op.finish("failed", func(o *snapline.Operation) { o.Error = problem })
		}
	})
	return op.state(), nil
}

func (c *Coordinator) maintenanceError(ctx context.Context, kind string, err error) *snapline.Error {
	var e *snapline.Error
	switch {
	case c.ctx.Err() != nil:
		return &snapline.Error{Code: snapline.CodeUnavailable, Message: fmt.Sprintf("the coordinator was stopped during the %s", kind), Hint: "start it again: nothing is broken by that", Err: err}
	case ctx.Err() != nil:
		return &snapline.Error{Code: snapline.CodeCancelled, Message: fmt.Sprintf("the %s was stopped on request; what it had done stays done", kind), Err: err}
	case errors.As(err, &e):
		return e
	case errors.Is(err, snapline.ErrDamaged):
		return &snapline.Error{Code: snapline.CodeDamaged, Message: err.Error(), Hint: "see what is damaged with: snapline repo check", Err: err}
	}
	return &snapline.Error{Code: snapline.CodeFailed, Message: err.Error(), Err: err}
}

// waits tells those who follow the operation what it waits for.
func (o *operation) waits(text string) {
	o.say(snapline.Progress{Phase: "wait", Text: strings.TrimPrefix(text, "waiting ")})
}

// pruning is one prune.
type pruning struct {
	c       *Coordinator
	m       snapline.Maintainer
	op      *operation
	request snapline.PruneRequest
	result  snapline.PruneResult
}

func (p *pruning) run(ctx context.Context) error {
	if p.request.Keep != (snapline.KeepPolicy{}) {
		if err := p.snapshots(ctx); err != nil {
			return err
		}
	}
	if p.request.DryRun {
		p.op.say(snapline.Progress{Phase: "look"})
		var err error
		p.result.Space, err = p.m.Prune(ctx, snapline.PruneOptions{DryRun: true, Without: p.result.Deleted})
		return err
	}
	for step := 1; ; step++ {
		r, err := p.step(ctx, step)
		if step == 1 {
			p.result.Space = r
		} else {
			s := &p.result.Space
			s.PacksDeleted += r.PacksDeleted
			s.PacksRewritten += r.PacksRewritten
			s.BytesDeleted += r.BytesDeleted
			s.BytesWritten += r.BytesWritten
			s.RootsDeleted += r.RootsDeleted
			s.BytesWasted, s.More = r.BytesWasted, r.More
		}
		if err != nil || !r.More {
			return err
		}
	}
}

// step frees space while no round writes. Rounds that came meanwhile go before
// the next step.
func (p *pruning) step(ctx context.Context, n int) (snapline.PruneReport, error) {
	lease, err := p.c.leases.exclusive(ctx, leasePrune, p.op.state().ID, p.op.waits)
	if err != nil {
		return snapline.PruneReport{}, err
	}
	defer lease.release()
	text := ""
	if n > 1 {
		text = fmt.Sprintf("step %d", n)
	}
	p.op.say(snapline.Progress{Phase: "prune", Text: text})
	return p.m.Prune(ctx, snapline.PruneOptions{MaxRewrite: pruneStep, Allowed: lease.check})
}

// snapshots deletes those that are not to be kept.
func (p *pruning) snapshots(ctx context.Context) error {
	all, err := p.c.Snapshots(ctx, p.request.Group)
	if err != nil {
		return err
	}
	var groups []snapline.GroupName
	for _, s := range p.request.Remove(all) {
		if !slices.Contains(groups, s.Group.Name) {
			groups = append(groups, s.Group.Name)
		}
	}
	p.result.Kept = len(all)
	for _, g := range groups {
		if err := p.group(ctx, g); err != nil {
			return err
		}
	}
	p.result.Kept -= len(p.result.Deleted)
	return nil
}

// group deletes one group's. The group is ours meanwhile: a restore reads what
// we would delete, a take may build upon it.
func (p *pruning) group(ctx context.Context, g snapline.GroupName) error {
	if !p.request.DryRun {
		release, err := p.c.beginWhenFree(ctx, g, p.op)
		if err != nil {
			return err
		}
		defer release()
	}
	all, err := p.c.Snapshots(ctx, g) // as they are now
	if err != nil {
		return err
	}
	for _, s := range p.request.Remove(all) {
		if !p.request.DryRun {
			p.op.say(snapline.Progress{Phase: "delete", Text: string(s.ID)})
			if err := p.c.Repository.Delete(ctx, s.ID); err != nil && !errors.Is(err, snapline.ErrNotFound) {
				return fmt.Errorf("delete snapshot %s: %w", s.ID, err)
			}
		}
		p.result.Deleted = append(p.result.Deleted, s.ID)
	}
	return nil
}

// explain adds to an error what had been done.
func (p *pruning) explain(err error) error {
	n, freed := len(p.result.Deleted), p.result.Space.BytesDeleted-p.result.Space.BytesWritten
	if p.request.DryRun || n == 0 && freed <= 0 {
		return err
	}
	return fmt.Errorf("after %d snapshots were deleted and %d bytes freed: %w", n, max(freed, 0), err)
}

// groupPoll is how often a group is looked at that another operation has.
const groupPoll = 100 * time.Millisecond

// beginWhenFree is begin that waits, for as long as a maintenance waits for
// rounds.
func (c *Coordinator) beginWhenFree(ctx context.Context, g snapline.GroupName, op *operation) (release func(), err error) {
	limit := time.NewTimer(c.leases.limits.patience + c.leases.limits.insist)
	defer limit.Stop()
	said := false
	for {
		release, busy := c.begin(g, op)
		if busy == nil {
			return release, nil
		}
		if !said {
			said = true
			op.waits("for " + busy.Error())
		}
		select {
		case <-time.After(groupPoll):
		case <-limit.C:
			return nil, busy
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
