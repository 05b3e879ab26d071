package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// restorePrefix is where the store keeps, for each group, the restore that has
// begun to stop members. Whoever takes over finds a group in pieces then, and
// brings it back: the same snapshot, to the same places.
const restorePrefix = "restore."

type restoreRecord struct {
	// By is the life of the coordinator that leads the restore. What one writes that
	// was deposed meanwhile is not that of its successor's predecessor.
	By       string                                    `json:"by"`
	Op       snapline.OperationID                      `json:"op"`
	Snapshot snapline.SnapshotID                       `json:"snapshot"`
	Place    map[snapline.MemberName]snapline.HostName `json:"place"`
	Without  absent                                    `json:"without"`
	Leased   bool                                      `json:"leased,omitempty"`
}

// note writes down what the restore is about to do, before the first member is
// stopped. It reports whether the machine's message may go: without the note it
// has to wait for the next attempt, a second later.
func (t *restoring) note() bool {
	if t.noted || t.machine.Phase() == protocol.RestorePlan {
		return true
	}
	if err := t.c.noteRestore(restoreRecord{Op: t.op.state().ID, Snapshot: t.snapshot.ID, Place: t.place, Without: t.without, Leased: t.leased}); err != nil {
		t.c.Log.Warn("note a restore before it begins", "snapshot", t.snapshot.ID, "error", err)
		return false
	}
	t.noted = true
	return true
}

func (c *Coordinator) noteRestore(r restoreRecord) error {
	g, _, err := r.Snapshot.Split()
	if err != nil {
		return err
	}
	r.By = c.Term.life
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	return c.Store.Put(ctx, restorePrefix+string(g), b)
}

// forgetRestore ends the note. A store that does not answer keeps it, and the
// next coordinator would repeat the restore: so it is tried for a while.
func (c *Coordinator) forgetRestore(g snapline.GroupName, noted bool) {
	if !noted {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 2*askLimit)
	defer cancel()
	for ctx.Err() == nil && c.Term.Leads() {
		err := c.Store.Delete(ctx, restorePrefix+string(g))
		if err == nil {
			return
		}
		c.Log.Warn("forget a restore that has ended", "group", g, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(helloEvery / 4):
		}
	}
}

// resumeRestores goes on with what a predecessor that has just died was bringing
// back. After a longer time nobody knows what an operator has done to the members
// meanwhile: then the restore has failed, and says so to whoever asks.
func (c *Coordinator) resumeRestores(ctx context.Context) error {
	keys, err := c.Store.Keys(ctx, restorePrefix)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	for _, key := range keys {
		b, _, err := c.Store.Get(ctx, key)
		var r restoreRecord
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			c.Log.Warn("read the restore of a predecessor", "key", key, "error", err)
			continue
		}
		g, _, _ := r.Snapshot.Split()
		c.noteStrays(g, straysOf(r.Place, r.Leased, slices.Collect(maps.Values(r.Place))...))
		if c.Term.fresh && r.By == c.Term.before {
			if err := c.noteRestore(r); err != nil {
				return fmt.Errorf("note a restore: %w", err)
			}
			c.resume(r)
			continue
		}
		c.remember(snapline.Operation{ID: r.Op, Kind: kindRestore, State: "failed", Group: g, Snapshot: r.Snapshot, Error: &snapline.Error{Code: snapline.CodeFailed,
			Message: fmt.Sprintf("the coordinator died while it restored %s: the members may be stopped", r.Snapshot), Hint: "restore again; it is safe to repeat"}})
		c.Log.Warn("a restore was interrupted: restore again", "snapshot", r.Snapshot)
		if err := c.Store.Delete(ctx, key); err != nil {
			return fmt.Errorf("forget a restore: %w", err)
		}
	}
	return nil
}

// resumeFor bounds the attempts: hosts may still be at work on what the
// predecessor told them.
const resumeFor = time.Minute

// resume goes on with a predecessor's restore under its own name, for those who
// follow it. Towards the agents each attempt is a later restore.
func (c *Coordinator) resume(r restoreRecord) {
	g, _, _ := r.Snapshot.Split()
	op := newOperation(c.Clock, snapline.Operation{ID: r.Op, Kind: kindRestore, Group: g, Snapshot: r.Snapshot})
	op.base = c.Term.Number() << 32
	op.end = func() {} // it is no obstacle; its attempts are
	c.mu.Lock()
	c.ops[r.Op] = op
	c.mu.Unlock()
	c.Log.Info("going on with the restore of a predecessor", "snapshot", r.Snapshot)
	c.running.Go(func() {
		limit := c.Clock.Now().Add(resumeFor)
		for attempt := 1; ; attempt++ {
			end := c.attempt(op, r, attempt)
			if c.ctx.Err() != nil {
				return // the next coordinator goes on
			}
			if e := end.Error; e != nil && mayPass(e.Code) && c.Clock.Now() < limit {
				select {
				case <-time.After(helloEvery):
					continue
				case <-c.ctx.Done():
					return
				}
			}
			c.forgetRestore(g, true)
			op.finish(end.State, func(o *snapline.Operation) { o.Restore, o.Error = end.Restore, end.Error })
			return
		}
	})
}

// overtaken says that another restore of the group has stopped members since this
// one was noted, and has ended.
func (c *Coordinator) overtaken(g snapline.GroupName, r restoreRecord) error {
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	b, _, err := c.Store.Get(ctx, restorePrefix+string(g))
	var now restoreRecord
	if err == nil {
		err = json.Unmarshal(b, &now)
	}
	if err == nil && now.Op == r.Op {
		return nil
	}
	if err == nil || errors.Is(err, snapline.ErrNotFound) {
		return &snapline.Error{Code: snapline.CodeFailed, Message: "the group was restored by another operation meanwhile", Hint: "snapline events " + string(g) + " shows which"}
	}
	return fmt.Errorf("read the restore of a predecessor: %w", err)
}

// mayPass reports whether a restore that ended so may succeed a little later.
func mayPass(c snapline.Code) bool {
	return c == snapline.CodeRefused || c == snapline.CodeBusy || c == snapline.CodeUnavailable
}

// attempt runs one restore, lets op say what it says, and returns how it ended.
func (c *Coordinator) attempt(op *operation, r restoreRecord, n int) snapline.Operation {
	inner := newOperation(c.Clock, snapline.Operation{ID: snapline.OperationID(fmt.Sprintf("%s-%d-%d", r.Op, c.Term.Number(), n)), Kind: kindRestore,
		Group: op.op.Group, Snapshot: r.Snapshot})
	s, err := c.Snapshot(c.ctx, r.Snapshot)
	release := func() {}
	if err == nil {
		release, err = c.begin(op.op.Group, inner)
	}
	if err == nil { // now it is the only one
		if err = c.overtaken(op.op.Group, r); err == nil {
			err = c.stillAbsent(op.op.Group, r.Without)
		}
		if err != nil {
			release()
		}
	}
	if err != nil {
		var e *snapline.Error
		if !errors.As(err, &e) {
			e = &snapline.Error{Code: snapline.CodeUnavailable, Message: err.Error(), Err: err}
		}
		return snapline.Operation{State: "failed", Error: e}
	}
	inner.end = release
	t := &restoring{c: c, op: inner, noted: true, resumed: true, snapshot: s, place: r.Place, without: r.Without, began: time.Now()}
	c.running.Go(t.run)
	for p := range inner.follow(c.ctx, 0) {
		if !p.Done {
			op.say(p)
		}
	}
	return inner.state()
}
