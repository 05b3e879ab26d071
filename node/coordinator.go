package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// CoordinatorConfig is what a coordinator is made of.
type CoordinatorConfig struct {
	Bus        snapline.Bus
	Store      snapline.Store
	Repository snapline.Repository
	// Location is what agents are told to open as the repository.
	Location  string
	Post      snapline.Codepoint // default PostCodepoint
	Deadlines snapline.Deadlines // default DefaultDeadlines
	// Quarantine is how long restored members are kept from packets of the old
	// timeline. Default DefaultQuarantine.
	Quarantine time.Duration
	// Lease is how long a host may run members of protected groups without an
	// answer of ours; default DefaultLease.
	Lease time.Duration
	Clock Clock // default BootClock
	Log   *slog.Logger
	// Trace, when set, gets every event and effect of every machine.
	Trace func(who string, at snapline.Instant, what any)
}

// Coordinator runs rounds and restores and keeps the groups. Its methods are
// what the API serves; they may be called from several goroutines.
type Coordinator struct {
	CoordinatorConfig
	ctx     context.Context // of Run
	roster  *roster
	ready   chan struct{} // closed when Run serves
	began   snapline.Instant
	running sync.WaitGroup
	// cutting is held from PREPARE to DISARM: rounds of groups that talk to one
	// another would take each other's marks for their own.
	cutting chan struct{}
	leases  *leases
	events  *events
	pace    pace

	// protecting lets one at a time begin or end a protection.
	protecting sync.Mutex
	// fate guards who may run where; see fate.go. It comes before mu and the
	// roster's lock.
	fate    sync.Mutex
	groups  map[snapline.GroupName]groupRecord // as they are in the store
	keepers map[snapline.GroupName]*keeper
	drained map[snapline.HostName]*draining

	mu          sync.Mutex
	ops         map[snapline.OperationID]*operation
	now         map[snapline.GroupName]*operation       // running, at most one a group
	maintaining *operation                              // the repository, at most one
	restored    map[snapline.GroupName]snapline.Instant // when its last restore ended
}

// NewCoordinator checks the configuration.
func NewCoordinator(c CoordinatorConfig) (*Coordinator, error) {
	if c.Post == 0 {
		c.Post = snapline.PostCodepoint
	}
	if c.Post > 63 {
		return nil, fmt.Errorf("codepoint %d: a DSCP value is 1 to 63", c.Post)
	}
	if c.Deadlines == (snapline.Deadlines{}) {
		c.Deadlines = snapline.DefaultDeadlines()
	}
	if err := c.Deadlines.Valid(); err != nil {
		return nil, err
	}
	if c.Lease == 0 {
		c.Lease = snapline.DefaultLease
	}
	if err := snapline.CheckLease(c.Lease); err != nil {
		return nil, err
	}
	if c.Post == snapline.RestoredCodepoint {
		return nil, fmt.Errorf("codepoint %d is that of restored members: choose another one", c.Post)
	}
	if c.Quarantine == 0 {
		c.Quarantine = snapline.DefaultQuarantine
	}
	if err := snapline.CheckQuarantine(c.Quarantine); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = BootClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Coordinator{CoordinatorConfig: c, began: c.Clock.Now(), roster: newRoster(c.Clock, c.Lease), ready: make(chan struct{}), cutting: make(chan struct{}, 1),
		leases: newLeases(c.Store, c.Clock, c.Log), events: newEvents(c.Store, c.Clock, c.Log), pace: defaultPace,
		groups: map[snapline.GroupName]groupRecord{}, keepers: map[snapline.GroupName]*keeper{}, drained: map[snapline.HostName]*draining{},
		ops: map[snapline.OperationID]*operation{}, now: map[snapline.GroupName]*operation{}, restored: map[snapline.GroupName]snapline.Instant{}}, nil
}

// Run serves until ctx ends; rounds that are under way are then left to the
// agents' deadlines and to the next coordinator.
func (c *Coordinator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	c.ctx = ctx
	defer c.events.flush(context.WithoutCancel(ctx)) // what the others say at their end, too
	defer c.running.Wait()
	defer cancel()
	if err := c.leases.takeOver(ctx); err != nil {
		return err
	}
	if err := c.events.load(ctx); err != nil {
		return err
	}
	c.running.Go(func() { c.events.save(ctx) })
	if err := c.discardUnfinished(ctx); err != nil {
		return err
	}
	if err := c.loadGroups(ctx); err != nil {
		return err
	}
	if err := c.loadDrained(ctx); err != nil {
		return err
	}
	for at, handle := range map[snapline.Address]func(snapline.Address, []byte){
		snapline.ToCoordinator: c.receive, toProgress: c.progressed,
	} {
		stop, err := c.Bus.Receive(at, handle)
		if err != nil {
			return fmt.Errorf("listen for messages: %w", err)
		}
		defer stop()
	}
	stop, err := c.Bus.Answer(toHello, c.welcome)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	defer stop()
	if err := c.loadProtections(ctx); err != nil {
		return err
	}
	close(c.ready)
	c.roster.watch(ctx, c.hostLost)
	return nil
}

// Ready is closed once the coordinator serves.
func (c *Coordinator) Ready() <-chan struct{} { return c.ready }

// Alive reports whether a coordinator that serves goes on doing so. One whose
// locks are never freed does not return.
func (c *Coordinator) Alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roster.watched()
}

// discardUnfinished removes what the last round of each group left when this
// coordinator's predecessor died in the middle of it. Its agents are told so
// when they speak up.
func (c *Coordinator) discardUnfinished(ctx context.Context) error {
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
		if n > 0 {
			if err := c.discard(ctx, snapline.NewSnapshotID(g, n)); err != nil {
				c.Log.Warn("discard unfinished round", "snapshot", snapline.NewSnapshotID(g, n), "error", err)
			}
		}
	}
	return nil
}

// discard removes a round's data unless its snapshot exists.
func (c *Coordinator) discard(ctx context.Context, id snapline.SnapshotID) error {
	switch _, err := c.Repository.Snapshot(ctx, id); {
	case err == nil:
		return nil
	case !errors.Is(err, snapline.ErrNotFound):
		return err // damaged: somebody should look at it
	}
	if err := c.Repository.Delete(ctx, id); err != nil && !errors.Is(err, snapline.ErrNotFound) {
		return err
	}
	return nil
}

// welcome answers an agent's hello.
func (c *Coordinator) welcome(_ context.Context, from snapline.Address, question []byte) []byte {
	var h hello
	w := welcome{Repository: c.Location, RepositoryID: c.Repository.ID()}
	if len(question) > maxHello {
		w.Refused = fmt.Sprintf("a hello of %d bytes", len(question))
	} else if err := json.Unmarshal(question, &h); err != nil {
		w.Refused = "hello that makes no sense: are agent and coordinator of one version?"
	} else if err := snapline.CheckName("host", string(h.Host)); err != nil {
		w.Refused = err.Error()
	} else if from != snapline.ToAgent(h.Host) {
		w.Refused = fmt.Sprintf("this is host %s, and its agent has signed in as %q: start it with the --name that it was enrolled with", h.Host, from)
	} else if !c.seen(h.bounded(), &w) {
		w.Refused = fmt.Sprintf("another agent has taken over the name %s: give each host a name of its own", h.Host)
	}
	b, err := json.Marshal(w)
	if err != nil {
		c.Log.Error("encode welcome", "error", err)
	}
	return b
}

// seen notes that an agent lives, says what may run there, and tells who comes,
// or comes back.
func (c *Coordinator) seen(h hello, w *welcome) (ok bool) {
	c.fate.Lock()
	news := c.roster.seen(h)
	if news != helloRefused {
		c.leaseFor(h, w)
	}
	c.fate.Unlock()
	if news == helloJoined || news == helloReturned {
		c.nudgeKeepers()
	}
	switch news {
	case helloJoined:
		c.events.add(snapline.Event{Kind: snapline.EventHostJoined, Host: h.Host, Text: fmt.Sprintf("host %s has joined", h.Host)})
	case helloReturned:
		c.events.add(snapline.Event{Kind: snapline.EventHostReturned, Host: h.Host, Text: fmt.Sprintf("host %s is back", h.Host)})
	}
	return news != helloRefused
}

// receive hands an agent's message to the operation that it is about. An agent
// speaks for its own host and the members there, and for nobody else.
func (c *Coordinator) receive(from snapline.Address, b []byte) {
	host, ok := from.Host()
	if !ok {
		c.Log.Warn("message ignored: its sender is no agent", "from", from)
		return
	}
	msg, err := protocol.Decode(b)
	if err != nil {
		c.Log.Warn("message ignored", "from", from, "error", err)
		return
	}
	switch m := msg.(type) {
	case protocol.Message:
		ref := m.About()
		op := c.runningRound(ref.Group, ref.Round)
		if op == nil {
			c.running.Go(func() { c.settle(host, m) })
			return
		}
		if op.hosts[ref.Member] != host {
			c.Log.Warn("message ignored: the member is on another host", "from", from, "member", ref.Member, "round", ref.Round)
			return
		}
		op.loop.post(protocol.Received{Msg: m})
	case protocol.RestoreMessage:
		ref := m.AboutRestore()
		if ref.Host != host {
			c.Log.Warn("message ignored: it claims to be of another host", "from", from, "host", ref.Host)
			return
		}
		if op := c.find(ref.Op); op != nil && op.loop != nil {
			op.loop.post(protocol.RestoreReceived{Msg: m})
		}
	}
}

// settle tells the agent that speaks how a round ended that nobody drives any
// more: the repository knows.
func (c *Coordinator) settle(host snapline.HostName, m protocol.Message) {
	ref := m.About()
	id := snapline.NewSnapshotID(ref.Group, ref.Round)
	switch m.(type) {
	case protocol.Aborted, protocol.Refused:
		// It has ended there too; what it was writing until then may have come after
		// the last time that we looked.
		if err := c.discard(c.ctx, id); err != nil {
			c.Log.Warn("discard", "snapshot", id, "error", err)
		}
		return
	}
	_, err := c.Repository.Snapshot(c.ctx, id)
	switch {
	case err == nil:
		c.send(protocol.Commit{Ref: ref}, host)
	case errors.Is(err, snapline.ErrNotFound):
		c.send(protocol.Abort{Ref: ref, Why: "the coordinator has given this round up"}, host)
		if err := c.discard(c.ctx, id); err != nil {
			c.Log.Warn("discard", "snapshot", id, "error", err)
		}
	default:
		c.Log.Warn("settle a round", "snapshot", id, "error", err)
	}
}

// send hands a message to a host's agent. What is lost is repeated by the
// machines.
func (c *Coordinator) send(msg any, host snapline.HostName) {
	b, err := protocol.Encode(msg)
	if err != nil {
		c.Log.Error("encode", "error", err)
		return
	}
	if err := c.Bus.Send(c.ctx, snapline.ToAgent(host), b); err != nil {
		c.Log.Debug("message lost", "host", host, "error", err)
	}
}

// progressed passes an agent's telemetry on to those who follow the operation.
func (c *Coordinator) progressed(from snapline.Address, b []byte) {
	var t telemetry
	host, ok := from.Host()
	if !ok || json.Unmarshal(b, &t) != nil {
		return
	}
	op := c.runningRound(t.Group, t.Round)
	if t.Op != "" {
		op = c.find(t.Op)
	}
	if op == nil {
		return
	}
	if at, known := op.hosts[t.Member]; !known || at == host {
		op.say(snapline.Progress{Member: t.Member, Step: t.Step, Bytes: t.Bytes, Total: t.Total})
	}
}

// hostLost tells every running operation that an agent has gone.
func (c *Coordinator) hostLost(h snapline.HostName, why string) {
	reason := snapline.Reason{Host: h, Text: why, Hint: "start the agent on that host again"}
	c.events.add(snapline.Event{Kind: snapline.EventHostLost, Host: h, Text: fmt.Sprintf("host %s is lost: %s", h, why)})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range c.now {
		op.hostLost(h, reason)
	}
	c.running.Go(c.nudgeKeepers) // fate comes before mu
}
