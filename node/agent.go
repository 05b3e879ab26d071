package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// AgentConfig is what an agent is made of.
type AgentConfig struct {
	Host       snapline.HostName
	Version    string
	Dir        string // state and spool; made when missing
	Bus        snapline.Bus
	Hypervisor snapline.Hypervisor
	Gates      snapline.Gates
	Fences     snapline.Fences
	// EndAfter is how long hellos may be unanswered, beyond the lease, before the
	// machines that run under it are ended. Default one minute.
	EndAfter time.Duration
	// OpenRepository opens the repository that the coordinator names. One that is
	// an io.Closer is closed when the agent ends.
	OpenRepository func(ctx context.Context, location string) (snapline.Repository, error)
	// HypervisorName and version for people, "QEMU 7.2.22".
	HypervisorName string
	// Resources says what this host has; default HostResources.
	Resources func() (Resources, error)
	// Examine, when set, looks at this host for "snapline doctor".
	Examine func(context.Context) []snapline.Finding
	Clock   Clock // default BootClock
	Log     *slog.Logger
	// Trace, when set, gets every event and effect of every machine.
	Trace func(who string, at snapline.Instant, what any)
}

// Agent runs the members of one host through rounds and restores.
type Agent struct {
	AgentConfig
	life  snapline.Incarnation
	terms terms
	ctx   context.Context // of Run; ends everything
	ready chan struct{}   // closed when Run serves

	mu       sync.Mutex
	hello    snapline.Instant // when the last one went
	members  map[memberKey]*memberRunner
	restores map[snapline.OperationID]*restoreRunner
	turn     turn
	fences   *fences
	peers    *peerBook
	repo     snapline.Repository
	backings backings
	repoAt   string
	repoErr  error
	opening  bool
	opened   []snapline.Repository // to close at the end
	running  sync.WaitGroup
	paths    paths
}

type memberKey struct {
	group  snapline.GroupName
	member snapline.MemberName
}

// NewAgent checks the configuration and makes the agent's folders.
func NewAgent(c AgentConfig) (*Agent, error) {
	if err := snapline.CheckName("host", string(c.Host)); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = BootClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.EndAfter == 0 {
		c.EndAfter = defaultEndAfter
	}
	if c.Resources == nil {
		c.Resources = HostResources
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	a := &Agent{AgentConfig: c, life: snapline.Incarnation(hex.EncodeToString(b[:])), ready: make(chan struct{}),
		members: map[memberKey]*memberRunner{}, restores: map[snapline.OperationID]*restoreRunner{},
		repoErr: errors.New("the coordinator has not named a repository yet")}
	a.fences, a.peers = newFences(a), newPeerBook(a)
	return a, a.clearSpool()
}

func (a *Agent) spoolDir() string { return filepath.Join(a.Dir, "spool") }

// clearSpool removes what a former life of this agent was capturing.
func (a *Agent) clearSpool() error {
	if err := os.RemoveAll(a.spoolDir()); err != nil {
		return fmt.Errorf("clear spool: %w", err)
	}
	if err := os.MkdirAll(a.spoolDir(), 0o700); err != nil {
		return fmt.Errorf("make spool: %w", err)
	}
	return nil
}

// Run serves until ctx ends; then every round of this host has been dropped
// and its virtual machines run on.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.Gates.Reconcile(ctx); err != nil {
		return fmt.Errorf("remove gates of a former life: %w", err)
	}
	if err := a.Hypervisor.Reconcile(ctx); err != nil {
		// A machine whose disks need a person says so when it is to be snapshotted.
		a.Log.Error("finish the disk snapshots of a former life", "error", err)
	}
	a.fences.find(ctx)
	ctx, cancel := context.WithCancel(ctx)
	a.ctx = ctx
	defer a.closeRepositories()
	defer a.paths.closeAll()
	defer a.running.Wait()
	defer cancel()
	stop, err := a.Bus.Receive(snapline.ToAgent(a.Host), a.receive)
	if err != nil {
		return fmt.Errorf("listen for messages: %w", err)
	}
	defer stop()
	quiet, err := a.Bus.Answer(snapline.ToAgent(a.Host), a.answer)
	if err != nil {
		return fmt.Errorf("listen for questions: %w", err)
	}
	defer quiet()
	a.running.Go(func() { a.fences.tend(ctx) })
	a.running.Go(func() { a.peers.run(ctx) })
	close(a.ready)
	return a.sayHello(ctx)
}

// Ready is closed once the agent serves.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Alive reports whether an agent that serves goes on doing so, with or without
// a coordinator. One whose locks are never freed does not return.
func (a *Agent) Alive() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Clock.Now().Sub(a.hello) < aliveFor
}

// sayHello reports to the coordinator every second until ctx ends.
func (a *Agent) sayHello(ctx context.Context) error {
	tick := time.NewTicker(helloEvery)
	defer tick.Stop()
	heard := a.Clock.Now()
	for {
		h := hello{Term: a.terms.latest.Load(), Host: a.Host, Incarnation: a.life, Version: a.Version, Hypervisor: a.HypervisorName}
		h.Fenced, h.Unfenced = a.fences.standing()
		h.Leased, h.Loaded = a.fences.leased(), a.loaded()
		var err error
		if h.Resources, err = a.Resources(); err != nil {
			a.Log.Warn("what this host has", "error", err)
		}
		question, err := json.Marshal(h)
		if err != nil {
			return err
		}
		asked := a.Clock.Now()
		a.mu.Lock()
		a.hello = asked
		a.mu.Unlock()
		ask, done := context.WithTimeout(ctx, helloEvery)
		answer, err := a.Bus.Ask(ask, toHello, question)
		done()
		if err != nil && a.Clock.Now().Sub(heard) > rejoinAfter {
			heard = a.Clock.Now()
			a.rejoin()
		}
		if err == nil {
			heard = a.Clock.Now()
			var w welcome
			if err := json.Unmarshal(answer, &w); err != nil {
				return fmt.Errorf("coordinator's answer: %w", err)
			}
			if w.Refused != "" {
				return &snapline.Error{Code: snapline.CodeRefused, Message: w.Refused}
			}
			if a.terms.obey(w.Term) {
				a.useRepository(w)
				a.fences.answered(ctx, asked, w)
				a.restoresOver(ctx, w.Over)
			} else {
				a.fences.unanswered(asked) // by one that leads
			}
		} else {
			a.fences.unanswered(asked)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// rejoin looks for the coordinator by way of another server: ours may run, and be
// cut off from the one that leads.
func (a *Agent) rejoin() {
	if b, ok := a.Bus.(interface{ Rejoin() error }); ok {
		if err := b.Rejoin(); err != nil {
			a.Log.Warn("no coordinator answers", "error", err)
		}
	}
}

// useRepository opens the repository that the coordinator names, when it is
// not the one that is open already.
func (a *Agent) useRepository(w welcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.opening || a.repo != nil && a.repoAt == w.Repository && a.repo.ID() == w.RepositoryID {
		return
	}
	a.opening = true
	a.running.Go(func() { a.openRepository(w) }) // the next hello must not wait
}

func (a *Agent) openRepository(w welcome) {
	r, err := a.OpenRepository(a.ctx, w.Repository)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opening = false
	if err == nil && r.ID() != w.RepositoryID {
		err = errors.Join(fmt.Errorf("repository %s on this host is not the coordinator's: mount the same storage at this path", w.Repository), closeRepository(r))
		r = nil
	}
	if err == nil {
		a.opened = append(a.opened, r)
		a.Log.Info("joined", "repository", w.Repository)
	} else if a.repoErr == nil || a.repoErr.Error() != err.Error() {
		a.Log.Warn("cannot use the repository", "error", err)
	}
	a.repo, a.repoErr, a.repoAt = r, err, w.Repository
}

// closeRepositories closes all that were ever used: a capture may have been on
// its way into an earlier one.
func (a *Agent) closeRepositories() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.opened {
		if err := closeRepository(r); err != nil {
			a.Log.Warn("close repository", "error", err)
		}
	}
}

func closeRepository(r snapline.Repository) error {
	if c, ok := r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (a *Agent) repository() (snapline.Repository, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.repo, a.repoErr
}

// receive hands a message to the runner that it is for.
func (a *Agent) receive(from snapline.Address, b []byte) {
	if from != snapline.ToCoordinator {
		a.Log.Warn("message ignored: it does not come from the coordinator", "from", from)
		return
	}
	msg, term, err := protocol.DecodeOrder(b)
	if err != nil {
		a.Log.Warn("message ignored", "error", err)
		return
	}
	if !a.terms.obey(term) {
		a.Log.Warn("order of a deposed coordinator ignored", "term", term, "order", fmt.Sprintf("%T", msg))
		return
	}
	switch m := msg.(type) {
	case protocol.Message:
		a.member(m.About()).loop.post(protocol.Received{Msg: m})
	case protocol.RestoreMessage:
		a.restore(m.AboutRestore().Op).loop.post(protocol.RestoreReceived{Msg: m})
	}
}

// send hands a message to the coordinator. What is lost is asked for again.
func (a *Agent) send(msg any) error {
	b, err := protocol.Encode(msg)
	if err != nil {
		return err
	}
	if err := a.Bus.Send(a.ctx, snapline.ToCoordinator, b); err != nil {
		a.Log.Debug("message lost", "error", err)
	}
	return nil
}

// member returns the runner of a member, which lives as long as the agent: it
// remembers the last round.
func (a *Agent) member(ref protocol.Ref) *memberRunner {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := memberKey{ref.Group, ref.Member}
	r := a.members[k]
	if r == nil {
		r = newMemberRunner(a, k)
		a.members[k] = r
		a.running.Go(r.run)
	}
	return r
}

func (a *Agent) tracer(who string) func(snapline.Instant, any) {
	if a.Trace == nil {
		return nil
	}
	return func(at snapline.Instant, what any) { a.Trace(who, at, what) }
}
