package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// endRounds decides the last round of each group, which this coordinator's
// predecessor may have died in the middle of: it was committed, or it is given
// up. Either way its operation has an end that can be asked for.
func (c *Coordinator) endRounds(ctx context.Context) error {
	keys, err := c.Store.Keys(ctx, roundPrefix)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	for _, key := range keys {
		g := snapline.GroupName(key[len(roundPrefix):])
		n, _, err := c.lastRound(ctx, g)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		id := snapline.NewSnapshotID(g, n)
		s, err := c.decide(ctx, id)
		if err != nil {
			c.Log.Warn("decide about the last round; it is tried again when its agents ask", "snapshot", id, "error", err)
			continue
		}
		c.remember(takenBefore(id, s))
	}
	return nil
}

// decide ends a round that nobody drives: it returns the snapshot, or nil when
// there is none and never will be.
func (c *Coordinator) decide(ctx context.Context, id snapline.SnapshotID) (*snapline.Snapshot, error) {
	for range 2 {
		s, err := c.Repository.Snapshot(ctx, id)
		if err == nil {
			return &s, nil
		}
		if !errors.Is(err, snapline.ErrNotFound) {
			return nil, err // damaged: somebody should look at it
		}
		if err := c.Repository.GiveUp(ctx, id); !errors.Is(err, snapline.ErrExists) {
			return nil, err
		}
		// Its coordinator was faster.
	}
	return nil, fmt.Errorf("the record of %s comes and goes", id)
}

// discard removes the data of a round that was aborted before anybody could have
// committed it.
func (c *Coordinator) discard(ctx context.Context, id snapline.SnapshotID) error {
	if err := c.Repository.Delete(ctx, id); err != nil && !errors.Is(err, snapline.ErrNotFound) {
		return err
	}
	return nil
}

// settle tells the agent that speaks how a round ended that nobody drives any
// more: the repository knows. What the agent was writing until it ended may have
// come after the last time that we looked.
func (c *Coordinator) settle(host snapline.HostName, m protocol.Message) {
	if !c.Term.Leads() {
		return
	}
	ref := m.About()
	id := snapline.NewSnapshotID(ref.Group, ref.Round)
	s, err := c.ended(c.ctx, ref.Group, ref.Round)
	if err != nil {
		c.Log.Warn("settle a round", "snapshot", id, "error", err)
		return // asked again
	}
	switch m.(type) {
	case protocol.Aborted, protocol.Refused:
		return // it has ended there too
	}
	if s != nil {
		c.send(protocol.Commit{Ref: ref}, host)
		return
	}
	c.send(protocol.Abort{Ref: ref, Why: "the coordinator has given this round up"}, host)
}

// ended is decide for a round that an agent names. One that this coordinator has
// never given a number is not given up beforehand.
func (c *Coordinator) ended(ctx context.Context, g snapline.GroupName, n snapline.Round) (*snapline.Snapshot, error) {
	last, _, err := c.lastRound(ctx, g)
	if err != nil {
		return nil, err
	}
	id := snapline.NewSnapshotID(g, n)
	if n <= last {
		return c.decide(ctx, id)
	}
	s, err := c.Repository.Snapshot(ctx, id)
	if errors.Is(err, snapline.ErrNotFound) {
		return nil, nil
	}
	return &s, err
}

// letGo tells the members of rounds that were under way that these have been
// given up, so that they need not wait for their own deadlines.
func (c *Coordinator) letGo(ctx context.Context, voided []lease) {
	for _, l := range voided {
		g, n, err := snapline.SnapshotID(l.For).Split()
		if l.Kind != leaseRound || err != nil {
			continue
		}
		op := c.find(takeID(snapline.SnapshotID(l.For)))
		rec, _, err := c.group(ctx, g)
		if err != nil || op == nil || op.state().State != "failed" {
			continue // committed, or not decided: its agents ask
		}
		for _, m := range rec.placed().Members {
			c.send(protocol.Abort{Ref: protocol.Ref{Group: g, Round: n, Member: m.Name}, Why: "its coordinator is gone"}, m.Host)
		}
	}
}

// gatherLimit bounds how long a coordinator that has taken over waits for agents
// before it serves: each says hello once a second, after it has found its way to
// a server that lives.
const gatherLimit = 5 * time.Second

// gather waits until the agents of all placed members have said hello. Whoever
// asks for a snapshot right after a takeover shall not be told that there are no
// agents. Only where coordinators take over from one another.
func (c *Coordinator) gather(ctx context.Context) {
	if !c.Term.shared {
		return
	}
	limit := time.NewTimer(gatherLimit)
	defer limit.Stop()
	tick := time.NewTicker(helloEvery / 20)
	defer tick.Stop()
	for _, h := range c.placedHosts(ctx) {
		for !c.roster.online(h) {
			select {
			case <-tick.C:
			case <-limit.C:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// placedHosts lists the hosts where members are.
func (c *Coordinator) placedHosts(ctx context.Context) (hosts []snapline.HostName) {
	keys, err := c.Store.Keys(ctx, groupPrefix)
	if err != nil {
		return nil // the store will be heard of by those who need it
	}
	for _, k := range keys {
		rec, _, err := c.group(ctx, snapline.GroupName(k[len(groupPrefix):]))
		if err != nil {
			continue
		}
		for _, m := range rec.placed().Members {
			if !slices.Contains(hosts, m.Host) {
				hosts = append(hosts, m.Host)
			}
		}
	}
	return hosts
}

func takeID(id snapline.SnapshotID) snapline.OperationID {
	return snapline.OperationID("take-" + string(id))
}

// takenBefore is the operation of a predecessor's round, as it has ended.
func takenBefore(id snapline.SnapshotID, s *snapline.Snapshot) snapline.Operation {
	g, _, _ := id.Split() // our own
	op := snapline.Operation{ID: takeID(id), Kind: kindTake, Group: g, Snapshot: id}
	if s != nil {
		op.State, op.Take = "done", takeResult(*s)
		return op
	}
	op.State, op.Error = "failed", &snapline.Error{Code: snapline.CodeFailed,
		Message: fmt.Sprintf("snapshot %s was not taken: its round was given up, or its coordinator died in it; every VM runs on and nothing was kept", id), Hint: "take it again"}
	return op
}

// remember lets an operation that ended before this coordinator's time be asked
// for, by those who followed it.
func (c *Coordinator) remember(ended snapline.Operation) {
	op := endedOperation(c.Clock, ended)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[ended.ID] = op
}
