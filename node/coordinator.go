package node

import (
	"context"
	"encoding/json"
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
	// Term is the right to act; nil: this is the only coordinator, and takes it
	// from whoever was before.
	Term  *Term
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
	strays  map[snapline.GroupName][]stray
	drained map[snapline.HostName]*draining
	hushes  map[snapline.GroupName]*hushing
	// evicting are machines that hosts are told to end.
	evicting map[memberAt]bool

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
		groups: map[snapline.GroupName]groupRecord{}, keepers: map[snapline.GroupName]*keeper{}, strays: map[snapline.GroupName][]stray{}, drained: map[snapline.HostName]*draining{}, hushes: map[snapline.GroupName]*hushing{}, evicting: map[memberAt]bool{},
		ops: map[snapline.OperationID]*operation{}, now: map[snapline.GroupName]*operation{}, restored: map[snapline.GroupName]snapline.Instant{}}, nil
}

// Run serves until ctx ends, which it has to when the Term does; rounds that are
// under way are then left to the agents' deadlines and to the next coordinator.
func (c *Coordinator) Run(ctx context.Context) error {
	if c.Term != nil {
		return c.run(ctx)
	}
	only := Candidate{Store: c.Store, Clock: c.Clock, Log: c.Log, sole: true}
	return only.Run(ctx, func(ctx context.Context, t *Term) error {
		c.Term = t
		return c.run(ctx)
	})
}

func (c *Coordinator) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	c.ctx = ctx
	defer c.events.flush(context.WithoutCancel(ctx)) // what the others say at their end, too
	defer c.running.Wait()
	defer cancel()
	voided, err := c.leases.takeOver(ctx)
	if err != nil {
		return err
	}
	if err := c.events.load(ctx); err != nil {
		return err
	}
	c.running.Go(func() { c.events.save(ctx) })
	if err := c.endRounds(ctx); err != nil {
		return err
	}
	if err := c.loadGroups(ctx); err != nil {
		return err
	}
	if err := c.loadDrained(ctx); err != nil {
		return err
	}
	if err := c.loadStrays(ctx); err != nil {
		return err
	}
	// Before agents are answered: who is told nothing of a protection takes its
	// group for one without.
	if err := c.loadProtections(ctx); err != nil {
		return err
	}
	if err := c.inherit(ctx); err != nil {
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
	quiet, err := c.Bus.Answer(toPeers, c.peersSeen)
	if err != nil {
		return fmt.Errorf("listen for reports of peers: %w", err)
	}
	defer quiet()
	stop, err := c.Bus.Answer(toHello, c.welcome)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	defer stop()
	c.letGo(ctx, voided)
	c.gather(ctx)
	if err := c.resumeRestores(ctx); err != nil {
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

// welcome answers an agent's hello.
func (c *Coordinator) welcome(_ context.Context, from snapline.Address, question []byte) []byte {
	var h hello
	w := welcome{Term: c.Term.Number(), Repository: c.Location, RepositoryID: c.Repository.ID()}
	if !c.Term.Leads() {
		return nil // another one answers
	}
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
	if w.Refused == "" {
		c.Term.hear(h.Term)
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
		c.hushFor(h, w)
		w.Over = c.over(h.Loaded)
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

// send hands a message to a host's agent. What is lost is repeated by the
// machines. A coordinator that does not lead any more says nothing.
func (c *Coordinator) send(msg any, host snapline.HostName) {
	if !c.Term.Leads() {
		return
	}
	b, err := protocol.EncodeOrder(c.Term.Number(), msg)
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
