package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/fencetest"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/repotest"
)

// site is a coordinator and three agents in one process, on fake machines.
type site struct {
	t     testing.TB
	bus   *bustest.Bus
	store *bustest.Store
	repo  *watchedRepo
	clock node.Clock // nil: the real one
	cloud *cloud
	air   *air
	c     *node.Coordinator
	stopC func()
	// quarantine of restored members; short, or every test would wait for it
	quarantine time.Duration
	gates      map[snapline.HostName]*fakeGates
	// fences outlive the agents, as they do in a kernel.
	fences map[snapline.HostName]*fencetest.Memory
	stopA  map[snapline.HostName]func()
	// near is what hosts say that they have near of a member's data.
	near map[snapline.HostName]func(context.Context, snapline.MemberSnapshot) snapline.Nearness
	// lease, if not zero, is the coordinator's, whose protections then hurry.
	lease time.Duration
	// looksSeldom leaves machines that are gone to other occasions than time.
	looksSeldom bool
	opened      atomic.Int32 // repositories, by agents
	// wrap, if not nil, is what becomes of an agent's bus.
	wrap func(snapline.HostName, snapline.Bus) snapline.Bus
	// traces are those of the coordinator ("") and of the agents.
	traces map[snapline.HostName]*recording
}

// newSite starts everything, with members n1 to n3 of group "g" on h1 to h3.
func newSite(t testing.TB) *site {
	s := newBareSite(t)
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	return s
}

// newBareSite is a site whose group has not been applied.
func newBareSite(t testing.TB, options ...func(*site)) *site {
	s := newQuietSite(t)
	for _, o := range options {
		o(s)
	}
	s.startCoordinator()
	for i := 1; i <= 3; i++ {
		s.startAgent(host(i))
		s.cloud.boot(host(i), member(i), "state of "+string(member(i)))
	}
	t.Cleanup(func() {
		for _, stop := range s.stopA {
			stop()
		}
		s.stopC()
		for h, r := range s.traces {
			r.replay(t, "host "+string(h))
		}
		s.noGates()
	})
	s.waitOnline(3)
	eventually(t, "agents have opened their repositories", func() bool { return s.opened.Load() >= 3 })
	return s
}

// noGates checks that every gate has been closed.
func (s *site) noGates() {
	for h, g := range s.gates {
		if n := g.count(); n > 0 {
			s.t.Errorf("%d gates left open on %s", n, h)
		}
	}
}

func (s *site) gatesUp() (n int) {
	for _, g := range s.gates {
		n += g.count()
	}
	return n
}

// newQuietSite is a site in which nobody runs yet.
func newQuietSite(t testing.TB) *site {
	return &site{t: t, bus: bustest.NewBus(), store: bustest.NewStore(), repo: &watchedRepo{Repository: repotest.NewMemory(), held: map[snapline.SnapshotID]int{}, damaged: map[string]bool{}}, cloud: newCloud(),
		air: &air{seen: map[uint64]map[uint32]snapline.Codepoint{}}, gates: map[snapline.HostName]*fakeGates{}, fences: map[snapline.HostName]*fencetest.Memory{}, quarantine: 50 * time.Millisecond, stopA: map[snapline.HostName]func(){}, traces: map[snapline.HostName]*recording{}}
}

func host(i int) snapline.HostName     { return snapline.HostName(fmt.Sprintf("h%d", i)) }
func member(i int) snapline.MemberName { return snapline.MemberName(fmt.Sprintf("n%d", i)) }

func (s *site) group() snapline.Group {
	g := snapline.Group{Name: "g"}
	for i := 1; i <= 3; i++ {
		g.Members = append(g.Members, snapline.Member{Name: member(i), Host: host(i), QEMU: &snapline.QEMU{QMP: "/run/" + string(member(i)) + ".qmp"}})
	}
	return g
}

func (s *site) startCoordinator() {
	c, err := node.NewCoordinator(node.CoordinatorConfig{Bus: s.bus.As(snapline.ToCoordinator), Store: s.store, Repository: s.repo, Location: "memory", Lease: s.lease, Quarantine: s.quarantine, Clock: s.clock, Trace: s.trace("")})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.lease != 0 {
		c.HurryKeepers()
	}
	if s.looksSeldom {
		c.LookSeldom()
	}
	s.c, s.stopC = c, s.background(c.Run)
	<-c.Ready()
}

func (s *site) startAgent(h snapline.HostName) {
	if s.gates[h] == nil {
		s.gates[h] = &fakeGates{open: map[*fakeGate]bool{}, air: s.air}
	}
	if s.fences[h] == nil {
		clock := s.clock
		if clock == nil {
			clock = node.BootClock{}
		}
		s.fences[h] = &fencetest.Memory{Now: clock.Now}
	}
	resources := func() (node.Resources, error) {
		return node.Resources{MemoryBytes: 1 << 30, AvailableBytes: 1 << 29, Cores: 4}, nil
	}
	a, err := node.NewAgent(node.AgentConfig{Host: h, Trace: s.trace(h), Resources: resources, Dir: s.t.TempDir(), Bus: s.agentBus(h), Hypervisor: &fakeHypervisor{s.cloud, h}, Gates: s.gates[h], Fences: s.fences[h], Clock: s.clock,
		Examine: func(context.Context) []snapline.Finding {
			return []snapline.Finding{{Check: "kernel", State: snapline.FindingOK, Text: "fake"}}
		},
		OpenRepository: func(context.Context, string) (snapline.Repository, error) {
			s.opened.Add(1)
			if near := s.near[h]; near != nil {
				return cachedRepo{s.repo, near}, nil
			}
			return s.repo, nil
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.stopA[h] = s.background(a.Run)
}

func (s *site) agentBus(h snapline.HostName) snapline.Bus {
	bus := s.bus.As(snapline.ToAgent(h))
	if s.wrap != nil {
		return s.wrap(h, bus)
	}
	return bus
}

// trace returns what writes a program's trace.
func (s *site) trace(h snapline.HostName) func(string, snapline.Instant, any) {
	if s.traces[h] == nil {
		s.traces[h] = &recording{}
	}
	return s.traces[h].line
}

// background runs f until the returned function is called, which waits for it.
func (s *site) background(f func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			s.t.Errorf("background: %v", err)
		}
	})
	return func() { cancel(); done.Wait() }
}

func (s *site) waitOnline(n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d agents online", n), func() bool {
		all, err := s.c.Hosts(s.t.Context())
		online := 0
		for _, h := range all {
			if h.Agent == "online" {
				online++
			}
		}
		return err == nil && online == n
	})
}

// eventually polls until ok or ten seconds have passed.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, 10*time.Second, what, ok)
}

func eventuallyWithin(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	late := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}

// patiently is eventually for what takes minutes.
func patiently(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond) // virtual
	}
	t.Fatalf("not within five minutes: %s", what)
}

// events lists those of a kind.
func (s *site) events(kind snapline.EventKind) (all []snapline.Event) {
	s.t.Helper()
	events, err := s.c.Events(s.t.Context(), "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(events, func(e snapline.Event) bool { return e.Kind != kind })
}

// follow waits for an operation's end and returns it with all steps.
func (s *site) follow(op snapline.Operation, err error) (snapline.Operation, []snapline.Progress) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	steps, err := s.c.Progress(ctx, op.ID, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []snapline.Progress
	for p := range steps {
		all = append(all, p)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("operation %s did not end; steps: %+v", op.ID, all)
	}
	op, err = s.c.Operation(s.t.Context(), op.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return op, all
}

func (s *site) take() snapline.Operation {
	s.t.Helper()
	op, _ := s.follow(s.c.Take(s.t.Context(), snapline.TakeRequest{Group: "g"}))
	return op
}

// mustTake takes a snapshot that has to succeed.
func (s *site) mustTake() snapline.SnapshotID {
	s.t.Helper()
	op := s.take()
	if op.Error != nil || op.Take == nil {
		s.t.Fatalf("take: %+v", op.Error)
	}
	return op.Snapshot
}

func code(err error) snapline.Code {
	var e *snapline.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
