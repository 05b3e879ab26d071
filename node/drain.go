package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

const drainPrefix = "drain."

// draining is a host that gets no members. While its operation runs, those that
// it has are moved away.
type draining struct {
	Since time.Time  `json:"since"`
	op    *operation // nil when none was begun in this coordinator's life
}

// loadDrained reads which hosts were given back to their owners. A drain that
// was under way is not taken up: the owner asks again.
func (c *Coordinator) loadDrained(ctx context.Context) error {
	keys, err := c.Store.Keys(ctx, drainPrefix)
	if err != nil {
		return fmt.Errorf("read drained hosts: %w", err)
	}
	c.fate.Lock()
	defer c.fate.Unlock()
	for _, key := range keys {
		c.drained[snapline.HostName(key[len(drainPrefix):])] = &draining{}
	}
	return nil
}

func (c *Coordinator) isDrained(h snapline.HostName) bool {
	c.fate.Lock()
	defer c.fate.Unlock()
	return c.drained[h] != nil
}

// Drain starts to give a host back to its owner: a snapshot of each group that
// has members there, and the whole group restored without that host. What has
// not gone at the deadline is ended there, if its group is protected, and comes
// back by recovery.
func (c *Coordinator) Drain(ctx context.Context, r snapline.DrainRequest) (snapline.Operation, error) {
	if err := snapline.CheckName("host", string(r.Host)); err != nil {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error()}
	}
	if r.Deadline() <= 0 || r.DeadlineMS > 1e12 {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("deadline %v: it must be above zero", r.Deadline())}
	}
	if _, _, known := c.host(r.Host); !known {
		return snapline.Operation{}, noHost(r.Host)
	}
	id := snapline.OperationID("drain-" + string(r.Host) + "-" + strings.ToLower(rand.Text()[:8]))
	op := newOperation(c.Clock, snapline.Operation{ID: id, Kind: kindDrain})
	d := &draining{Since: c.Clock.Wall(), op: op}
	b, err := json.Marshal(d)
	if err != nil {
		return snapline.Operation{}, err
	}
	c.fate.Lock()
	if old := c.drained[r.Host]; old != nil && old.op != nil && old.op.state().State == "running" {
		c.fate.Unlock()
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("host %s is being drained already (operation %s)", r.Host, old.op.state().ID), Hint: "wait until that has ended"}
	}
	c.drained[r.Host] = d
	c.fate.Unlock()
	if err := c.Store.Put(ctx, drainPrefix+string(r.Host), b); err != nil {
		c.fate.Lock()
		delete(c.drained, r.Host)
		c.fate.Unlock()
		return snapline.Operation{}, fmt.Errorf("note that %s is drained: %w", r.Host, err)
	}
	work, cancel := context.WithCancel(c.ctx)
	op.cancel, op.end = cancel, func() {}
	c.mu.Lock()
	c.forget()
	c.ops[id] = op
	c.mu.Unlock()
	c.events.add(snapline.Event{Kind: snapline.EventDraining, Host: r.Host, Op: id, Text: fmt.Sprintf("host %s is to be given back within %v", r.Host, r.Deadline())})
	c.running.Go(func() {
		defer cancel()
		c.drain(work, r, op)
	})
	return op.state(), nil
}

// host returns what a host last said, whether it is online, and whether it was
// ever heard of.
func (c *Coordinator) host(h snapline.HostName) (said hello, online, known bool) {
	said, online = c.roster.has(h)
	return said, online, said.Host != ""
}

func noHost(h snapline.HostName) error {
	return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no host %q", h), Hint: "snapline hosts lists those that have joined"}
}

// Undrain lets a host have members again. None is moved back by that.
func (c *Coordinator) Undrain(ctx context.Context, h snapline.HostName) error {
	c.fate.Lock()
	d := c.drained[h]
	c.fate.Unlock()
	if _, _, known := c.host(h); d == nil && !known {
		return noHost(h)
	}
	if d == nil {
		return nil // as often as one likes
	}
	if d.op != nil && d.op.state().State == "running" {
		return &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("host %s is being drained (operation %s)", h, d.op.state().ID), Hint: "wait until that has ended"}
	}
	if err := c.Store.Delete(ctx, drainPrefix+string(h)); err != nil {
		return fmt.Errorf("note that %s is no longer drained: %w", h, err)
	}
	c.fate.Lock()
	delete(c.drained, h)
	c.fate.Unlock()
	c.events.add(snapline.Event{Kind: snapline.EventUndrained, Host: h, Text: fmt.Sprintf("host %s may have members again", h)})
	c.nudgeKeepers()
	return nil
}

// drain moves one group after the other.
func (c *Coordinator) drain(ctx context.Context, r snapline.DrainRequest, op *operation) {
	began := time.Now()
	result := &snapline.DrainResult{Host: r.Host, Moved: []snapline.MovedGroup{}}
	limit, cancel := context.WithTimeout(ctx, r.Deadline())
	defer cancel()
	var left []snapline.Reason
	for _, g := range c.groupsOn(r.Host) {
		moved, err := c.moveAway(limit, g, r.Host, op)
		switch {
		case err == nil:
			result.Moved = append(result.Moved, moved)
		case ctx.Err() != nil:
			left = append(left, snapline.Reason{Text: fmt.Sprintf("group %s was not moved: %v", g, err)})
		case c.release(ctx, g, r.Host, err):
			op.say(snapline.Progress{Phase: "release", Text: string(g)})
			result.Released = append(result.Released, g)
		default:
			left = append(left, snapline.Reason{Host: r.Host, Text: fmt.Sprintf("group %s has members there still, and is not protected: %v", g, err), Hint: "protect it, or stop its machines"})
		}
	}
	result.DurationMS = sinceMS(began)
	if left != nil {
		problem := &snapline.Error{Code: snapline.CodeFailed, Message: fmt.Sprintf("host %s could not be given back; it gets no new members until: snapline undrain %s", r.Host, r.Host), Reasons: left}
		if ctx.Err() != nil {
			problem.Code = snapline.CodeCancelled
		}
		c.events.add(snapline.Event{Kind: snapline.EventDrained, Host: r.Host, Op: op.state().ID, Text: problem.Message, Reasons: left})
		op.finish("failed", func(o *snapline.Operation) { o.Error = problem })
		return
	}
	text := fmt.Sprintf("host %s was given back in %.1f s", r.Host, result.DurationMS/1000)
	for _, m := range result.Moved {
		text += describeMoved(m)
	}
	c.events.add(snapline.Event{Kind: snapline.EventDrained, Host: r.Host, Op: op.state().ID, Text: text})
	op.finish("done", func(o *snapline.Operation) { o.Drain = result })
}

// groupsOn are the groups that have members on the host.
func (c *Coordinator) groupsOn(h snapline.HostName) (all []snapline.GroupName) {
	c.fate.Lock()
	defer c.fate.Unlock()
	for g, rec := range c.groups {
		for _, m := range rec.placed().Members {
			if m.Host == h {
				all = append(all, g)
				break
			}
		}
	}
	slices.Sort(all)
	return all
}

// finished waits for an operation's end, and returns its error as one. One that
// is given up on is cancelled.
func (c *Coordinator) finished(ctx context.Context, id snapline.OperationID) (snapline.Operation, error) {
	op, err := c.outcome(ctx, id)
	if err != nil {
		_ = c.Cancel(context.WithoutCancel(ctx), id) // it has ended, or ends by itself
		return op, err
	}
	if op.Error != nil {
		return op, op.Error
	}
	return op, nil
}

// release ends a protected group's members on the host and lets its recovery
// bring the group back. It reports whether the group is protected.
func (c *Coordinator) release(ctx context.Context, g snapline.GroupName, h snapline.HostName, why error) bool {
	c.fate.Lock()
	k := c.keepers[g]
	c.fate.Unlock()
	if k == nil {
		return false
	}
	if _, err := k.withdraw(ctx, map[snapline.HostName]bool{h: true}, h); err != nil {
		c.Log.Warn("release a host", "host", h, "group", g, "error", err)
		return false
	}
	c.events.add(snapline.Event{Kind: snapline.EventReleased, Host: h, Group: g, Text: fmt.Sprintf("the deadline has passed: what %s has on %s is ended, and the group comes back by recovery (%v)", g, h, why)})
	k.nudge()
	return true
}
