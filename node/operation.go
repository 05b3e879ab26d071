package node

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// operation is a take or restore under way or done, and what was said of it.
type operation struct {
	clock Clock
	round snapline.Round // of a take
	loop  *loop
	// members says which host runs each member, for hostLost.
	hosts map[snapline.MemberName]snapline.HostName
	// end frees the group for the next operation; it may be called twice.
	end func()
	// cancel, if not nil, ends what the operation does outside of a machine.
	cancel func()

	mu   sync.Mutex
	op   snapline.Operation
	base uint64 // ids of steps count from here: a predecessor's were lower
	said []snapline.Progress
	more chan struct{} // closed and replaced when something is said
}

func newOperation(c Clock, op snapline.Operation) *operation {
	op.State, op.Started = "running", c.Wall()
	return &operation{clock: c, op: op, loop: newLoop(c), more: make(chan struct{})}
}

// endedOperation is one that has ended as op says, of which no steps are known.
func endedOperation(c Clock, op snapline.Operation) *operation {
	o := newOperation(c, op)
	o.op.State = op.State
	return o
}

func (o *operation) state() snapline.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.op
}

// say appends one step to the progress.
func (o *operation) say(p snapline.Progress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sayLocked(p)
}

func (o *operation) sayLocked(p snapline.Progress) {
	if o.op.State != "running" {
		return
	}
	p.ID, p.At = o.base+uint64(len(o.said))+1, o.clock.Wall()
	o.said = append(o.said, p)
	close(o.more)
	o.more = make(chan struct{})
}

// finish ends the operation; set fills in its result. The group is free before
// anybody hears of the end, so that whoever waited can go on at once.
func (o *operation) finish(state string, set func(*snapline.Operation)) {
	o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	set(&o.op)
	o.sayLocked(snapline.Progress{Done: true, Text: state})
	o.op.State = state
}

// hostLost tells the machine about the members of a host.
func (o *operation) hostLost(h snapline.HostName, reason snapline.Reason) {
	if o.state().Kind == kindRestore {
		o.loop.post(protocol.HostLost{Host: h, Reason: reason})
		return
	}
	for m, at := range o.hosts {
		if at == h {
			reason.Member = m
			o.loop.post(protocol.Lost{Member: m, Reason: reason})
		}
	}
}

// follow yields the steps with an ID above after, old ones and new ones.
func (o *operation) follow(ctx context.Context, after uint64) iter.Seq[snapline.Progress] {
	return func(yield func(snapline.Progress) bool) {
		for {
			o.mu.Lock()
			said, more, ended := o.said, o.more, o.op.State != "running"
			o.mu.Unlock()
			for after = max(after, o.base); after < o.base+uint64(len(said)); after++ {
				if p := said[after-o.base]; !yield(p) || p.Done {
					return
				}
			}
			if ended {
				return // asked for what comes after the end
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
		}
	}
}

const (
	kindTake    = "take"
	kindRestore = "restore"
	kindDrain   = "drain"
	kindDoctor  = "doctor" // never seen as an operation: it only keeps others out
)

// claim makes the caller the only one who changes the group until release.
func (c *Coordinator) claim(g snapline.GroupName) (release func(), err error) {
	return c.begin(g, newOperation(c.Clock, snapline.Operation{Group: g}))
}

// begin makes op the one running operation of the group, or says who is.
func (c *Coordinator) begin(g snapline.GroupName, op *operation) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.Term.Leads() {
		return nil, deposed()
	}
	if err := c.idleLocked(g); err != nil {
		return nil, err
	}
	c.now[g] = op
	if id := op.state().ID; id != "" {
		c.forget()
		c.ops[id] = op
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.now, g)
	}), nil
}

// idle returns CodeBusy when an operation changes the group just now.
func (c *Coordinator) idle(g snapline.GroupName) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idleLocked(g)
}

func (c *Coordinator) idleLocked(g snapline.GroupName) error {
	other := c.now[g]
	if other == nil {
		return nil
	}
	what := "its declaration is being changed"
	if other.state().Kind == kindDoctor {
		what = "snapline doctor looks at it"
	}
	if st := other.state(); st.ID != "" {
		what = fmt.Sprintf("%s of %s is under way (operation %s)", st.Kind, st.Snapshot, st.ID)
		if st.Snapshot == "" {
			what = fmt.Sprintf("%s is under way (operation %s)", st.Kind, st.ID)
		}
	}
	return &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("group %s is busy: %s", g, what), Hint: "wait until it has ended; snapline status " + string(g) + " shows it"}
}

// forget drops operations that ended long ago.
func (c *Coordinator) forget() {
	for id, op := range c.ops {
		if st := op.state(); st.State != "running" && c.Clock.Wall().Sub(st.Started) > rememberOps {
			delete(c.ops, id)
		}
	}
}

func (c *Coordinator) find(id snapline.OperationID) *operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops[id]
}

// runningRound returns the take that drives the round, or nil.
func (c *Coordinator) runningRound(g snapline.GroupName, r snapline.Round) *operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op := c.now[g]; op != nil && op.round == r && r != 0 {
		return op
	}
	return nil
}

func (c *Coordinator) operation(id snapline.OperationID) (*operation, error) {
	if op := c.find(id); op != nil {
		return op, nil
	}
	return nil, &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no operation %q", id), Hint: "operations are forgotten when the coordinator restarts; snapline list shows what exists"}
}

// Operation returns how a take or restore stands.
func (c *Coordinator) Operation(_ context.Context, id snapline.OperationID) (snapline.Operation, error) {
	op, err := c.operation(id)
	if err != nil {
		return snapline.Operation{}, err
	}
	return op.state(), nil
}

// Progress replays and follows an operation's steps.
func (c *Coordinator) Progress(ctx context.Context, id snapline.OperationID, after uint64) (iter.Seq[snapline.Progress], error) {
	op, err := c.operation(id)
	if err != nil {
		return nil, err
	}
	return op.follow(ctx, after), nil
}

// Cancel asks a running operation to stop.
func (c *Coordinator) Cancel(_ context.Context, id snapline.OperationID) error {
	op, err := c.operation(id)
	if err != nil {
		return err
	}
	if st := op.state(); st.State == "running" && st.Kind == kindRestore && op.restorePhase() != protocol.RestorePlan {
		return &snapline.Error{Code: snapline.CodeRefused, Message: "the restore has stopped the group's members already: half a restore helps nobody, so it goes on to its end"}
	}
	if op.cancel != nil {
		op.cancel()
	}
	op.loop.post(protocol.Cancelled{})
	return nil
}
