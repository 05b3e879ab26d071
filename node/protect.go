package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

const protectionPrefix = "protection."

// Protect begins to protect a group, or changes how.
func (c *Coordinator) Protect(ctx context.Context, r snapline.ProtectRequest) (snapline.GroupStatus, error) {
	rec, _, err := c.group(ctx, r.Group)
	if err != nil {
		return snapline.GroupStatus{}, err
	}
	if bad := r.Problems(); len(bad) > 0 {
		return snapline.GroupStatus{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("group %s cannot be protected like this", r.Group), Reasons: bad}
	}
	if err := c.beginProtection(ctx, r, rec.placed()); err != nil {
		return snapline.GroupStatus{}, err
	}
	c.awaitFences(ctx, r.Group)
	return c.status(ctx, rec), nil
}

func (c *Coordinator) beginProtection(ctx context.Context, r snapline.ProtectRequest, g snapline.Group) error {
	c.protecting.Lock()
	defer c.protecting.Unlock()
	if shared := c.sharedWith(g); shared != nil {
		return errShared(g.Name, shared)
	}
	next := protectionRecord{Request: r, Since: c.Clock.Wall()}
	c.fate.Lock()
	old := c.keepers[r.Group]
	c.fate.Unlock()
	if old != nil {
		old.end() // what it was doing for the old request goes on by itself
		c.fate.Lock()
		old.retired = true
		next = old.rec
		next.Request = r
		c.fate.Unlock()
	}
	if err := c.putProtection(ctx, next); err != nil {
		if old != nil {
			c.keep(old.rec)
		}
		return err
	}
	k := c.keep(next)
	if old != nil {
		c.fate.Lock()
		k.peers, k.cut = old.peers, old.cut
		c.fate.Unlock()
	}
	c.events.add(snapline.Event{Kind: snapline.EventProtected, Group: r.Group, Text: fmt.Sprintf("group %s is protected: a snapshot every %v, at most %v may be lost", r.Group, r.Every(), r.MaxLoss())})
	return nil
}

// sharedWith finds members whose machine another protected group has, too: the
// recovery of one would end what the other's has started.
func (c *Coordinator) sharedWith(g snapline.Group) (all []snapline.Reason) {
	c.fate.Lock()
	defer c.fate.Unlock()
	for _, other := range slices.Sorted(maps.Keys(c.keepers)) {
		if other == g.Name {
			continue
		}
		for _, theirs := range c.groups[other].placed().Members {
			for _, m := range g.Members {
				if m.Host == theirs.Host && sameMonitor(m, theirs) {
					all = append(all, snapline.Reason{Member: m.Name, Host: m.Host, Text: fmt.Sprintf("its machine is member %s of group %s, which is protected", theirs.Name, other),
						Hint: "protect one group that has the members of both, or: snapline unprotect " + string(other)})
				}
			}
		}
	}
	return all
}

func errShared(g snapline.GroupName, shared []snapline.Reason) error {
	return &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("group %s shares machines with a protected group: a recovery of one would end the other's", g), Reasons: shared}
}

// fencesIn is how long it takes to hear of fences: an agent is told with one
// hello and tells with the next, or the one after it.
const fencesIn = 4 * time.Second

// awaitFences waits until all members are fenced, or cannot be, so that the
// answer to Protect says how it will be.
func (c *Coordinator) awaitFences(ctx context.Context, g snapline.GroupName) {
	late := time.After(fencesIn)
	for {
		c.fate.Lock()
		k := c.keepers[g]
		ready := k == nil || len(k.unfenced()) == 0 || slices.ContainsFunc(slices.Collect(maps.Values(k.unable)), func(why string) bool { return why != "" })
		c.fate.Unlock()
		if ready {
			return
		}
		select {
		case <-time.After(groupPoll):
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Unprotect ends a protection. A restore that it has begun goes on.
func (c *Coordinator) Unprotect(ctx context.Context, g snapline.GroupName) error {
	if _, _, err := c.group(ctx, g); err != nil {
		return err
	}
	c.protecting.Lock()
	defer c.protecting.Unlock()
	c.fate.Lock()
	k := c.keepers[g]
	c.fate.Unlock()
	if k == nil {
		return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("group %s is not protected", g), Hint: "snapline protect " + string(g) + " --every 5m protects it"}
	}
	if err := c.idle(g); err != nil {
		var e *snapline.Error
		if op := c.runningOn(g); errors.As(err, &e) && op != nil && op.state().Kind == kindRestore {
			return err // its end decides which members are fenced, and where
		}
	}
	k.end()
	c.fate.Lock()
	k.retired = true
	c.fate.Unlock()
	k.saving.Lock()
	err := c.Store.Delete(ctx, protectionPrefix+string(g))
	k.saving.Unlock()
	if err != nil {
		c.keep(k.rec)
		return fmt.Errorf("end the protection of %s: %w", g, err)
	}
	c.fate.Lock()
	delete(c.keepers, g)
	c.fate.Unlock()
	c.events.add(snapline.Event{Kind: snapline.EventUnprotected, Group: g, Text: fmt.Sprintf("group %s is no longer protected", g)})
	return nil
}

// runningOn is the group's operation, or nil.
func (c *Coordinator) runningOn(g snapline.GroupName) *operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now[g]
}

// keep starts a keeper, in the place of the one that there may have been.
func (c *Coordinator) keep(rec protectionRecord) *keeper {
	ctx, cancel := context.WithCancel(c.ctx)
	k := &keeper{c: c, group: rec.Request.Group, rec: rec, wake: make(chan struct{}, 1), said: map[snapline.EventKind]string{}, unable: map[snapline.MemberName]string{}, peers: newPeerLog()}
	if k.rec.Fenced == nil {
		k.rec.Fenced = map[snapline.MemberName]snapline.HostName{}
	}
	var working sync.WaitGroup
	k.end = func() { cancel(); working.Wait() }
	c.fate.Lock()
	c.keepers[k.group] = k
	c.fate.Unlock()
	working.Add(1)
	c.running.Go(func() { defer working.Done(); k.run(ctx) })
	return k
}

// loadProtections goes on with what an earlier coordinator has protected.
func (c *Coordinator) loadProtections(ctx context.Context) error {
	keys, err := c.Store.Keys(ctx, protectionPrefix)
	if err != nil {
		return fmt.Errorf("read protections: %w", err)
	}
	for _, key := range keys {
		b, _, err := c.Store.Get(ctx, key)
		var rec protectionRecord
		if err == nil {
			err = json.Unmarshal(b, &rec)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		c.keep(rec)
	}
	return nil
}

func (c *Coordinator) putProtection(ctx context.Context, rec protectionRecord) error {
	b, err := json.Marshal(rec)
	if err == nil {
		err = c.Store.Put(ctx, protectionPrefix+string(rec.Request.Group), b)
	}
	if err != nil {
		return fmt.Errorf("write the protection of %s: %w", rec.Request.Group, err)
	}
	return nil
}

// errRetired says that a decision came too late for this keeper.
var errRetired = errors.New("the protection is being changed")

// save writes what has changed. An error leaves it to the next time.
func (k *keeper) save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	k.c.fate.Lock()
	if k.retired || !k.unsaved {
		retired := k.retired
		k.c.fate.Unlock()
		if retired {
			return errRetired
		}
		return nil
	}
	b, err := json.Marshal(k.rec)
	k.unsaved = false
	k.c.fate.Unlock()
	if err == nil {
		err = k.c.Store.Put(ctx, protectionPrefix+string(k.group), b)
	}
	if err != nil {
		k.c.fate.Lock()
		k.unsaved = true
		k.c.fate.Unlock()
		k.c.Log.Warn("write a protection", "group", k.group, "error", err)
	}
	return err
}

// nudgeKeepers makes all of them look again: hosts have come or gone.
func (c *Coordinator) nudgeKeepers() {
	c.fate.Lock()
	defer c.fate.Unlock()
	for _, k := range c.keepers {
		k.nudge()
	}
}
