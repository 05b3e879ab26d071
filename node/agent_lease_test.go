package node_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/fencetest"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/repotest"
)

// leased is one agent, and a coordinator that is the test.
type leased struct {
	t      *testing.T
	bus    *bustest.Bus
	cloud  *cloud
	fences *fencetest.Memory
	stop   func()
	end    time.Duration // EndAfter

	mu     sync.Mutex
	answer map[string]any // nil: silence
	fenced []string       // what the last hello said
	why    string
}

const testLease = 2 * time.Second

func newLeased(t *testing.T, endAfter time.Duration) *leased {
	l := &leased{t: t, bus: bustest.NewBus(), cloud: newCloud(), fences: &fencetest.Memory{Now: node.BootClock{}.Now}, end: endAfter}
	l.cloud.boot("h1", "n1", "state")
	quiet, err := l.bus.Answer("coordinator.hello", func(_ context.Context, _ snapline.Address, question []byte) []byte {
		var hello struct {
			Fenced   []struct{ Group, Member string }
			Unfenced []struct{ Text string }
		}
		if err := json.Unmarshal(question, &hello); err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.fenced, l.why = nil, ""
		for _, u := range hello.Unfenced {
			l.why = u.Text
		}
		for _, f := range hello.Fenced {
			l.fenced = append(l.fenced, f.Group+"/"+f.Member)
		}
		if l.answer == nil {
			return []byte("{}") // asked before it fell silent, and told nothing
		}
		b, err := json.Marshal(l.answer)
		if err != nil {
			t.Error(err)
		}
		return b
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(quiet)
	l.start()
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *leased) start() {
	repo := repotest.NewMemory()
	a, err := node.NewAgent(node.AgentConfig{Host: "h1", Dir: l.t.TempDir(), Bus: silenced{l.bus, l}, Hypervisor: &fakeHypervisor{l.cloud, "h1"},
		Gates: &fakeGates{open: map[*fakeGate]bool{}}, Fences: l.fences, EndAfter: l.end,
		OpenRepository: func(context.Context, string) (snapline.Repository, error) { return repo, nil }})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := a.Run(ctx); err != nil {
			l.t.Error(err)
		}
	})
	l.stop = sync.OnceFunc(func() { cancel(); done.Wait() })
}

// silenced loses hellos while the coordinator is to be silent.
type silenced struct {
	snapline.Bus
	l *leased
}

func (s silenced) Ask(ctx context.Context, to snapline.Address, question []byte) ([]byte, error) {
	s.l.mu.Lock()
	silent := s.l.answer == nil
	s.l.mu.Unlock()
	if silent {
		return nil, snapline.ErrNoAnswer
	}
	return s.Bus.Ask(ctx, to, question)
}

// say changes what the coordinator answers: a list of "fence", "evict", "lift".
func (l *leased) say(what ...string) {
	spec := snapline.Member{Name: "n1", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/n1.qmp"}}
	full := []any{map[string]any{"group": "g", "member": spec}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = map[string]any{"repository": "memory", "lease": testLease}
	for _, w := range what {
		switch w {
		case "lift":
			l.answer["lift"] = []any{map[string]any{"group": "g", "member": "n1"}}
		case "silence":
			l.answer = nil
		default:
			l.answer[w] = full
		}
	}
}

func (l *leased) reports() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Equal(l.fenced, []string{"g/n1"})
}

func (l *leased) standing() int {
	all, err := l.fences.Standing(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return len(all)
}

func (l *leased) open() bool {
	out, _ := l.fences.Out("tap-n1")
	return out && l.fences.In("tap-n1", fencetest.Stranger)
}

func (l *leased) until() snapline.Instant {
	all, err := l.fences.Standing(l.t.Context())
	if err != nil || len(all) != 1 {
		l.t.Fatalf("standing: %d, %v", len(all), err)
	}
	r, err := all[0].Rules()
	if err != nil {
		l.t.Fatal(err)
	}
	return r.OpenUntil
}

func (l *leased) alive() bool { return l.cloud.find("h1", "n1") != nil }

// protect waits until the member runs under a lease that is renewed.
func (l *leased) protect() {
	l.t.Helper()
	l.say("fence")
	eventually(l.t, "the member reported as fenced", l.reports)
	if l.standing() != 1 {
		l.t.Fatal("no fence stands")
	}
	first := l.until()
	eventually(l.t, "a renewal", func() bool { return l.until() > first })
	if at := l.until().Sub(node.BootClock{}.Now()); at > testLease {
		l.t.Fatalf("a lease of %v, longer than was given", at)
	}
	if !l.open() {
		l.t.Fatal("the fence is shut")
	}
}

func TestLeaseAndLift(t *testing.T) {
	t.Parallel()
	l := newLeased(t, time.Hour)
	l.protect()
	l.say("lift")
	eventually(t, "nothing standing", func() bool { return l.standing() == 0 })
	eventually(t, "nothing reported", func() bool { return !l.reports() })
	if !l.alive() || !l.open() {
		t.Error("the machine did not survive that")
	}
}

// TestSilentCoordinator: the network closes, the machine waits, and a renewal
// opens it again.
func TestSilentCoordinator(t *testing.T) {
	t.Parallel()
	l := newLeased(t, time.Hour)
	l.protect()
	l.say("silence")
	eventually(t, "the lease running out", func() bool { return !l.open() })
	if now := (node.BootClock{}).Now(); l.until() > now {
		t.Errorf("shut %v before the lease's end", l.until().Sub(now))
	}
	if !l.alive() {
		t.Error("the machine was ended at once")
	}
	l.say("fence")
	eventually(t, "opening again", l.open)
}

// TestSilenceEnds: the machine is not kept for ever.
func TestSilenceEnds(t *testing.T) {
	t.Parallel()
	l := newLeased(t, time.Second)
	l.protect()
	l.say("silence")
	eventually(t, "the machine's end", func() bool { return !l.alive() })
	eventually(t, "the fence's end", func() bool { return l.standing() == 0 })
}

// TestNotNamed: a member that the coordinator does not name is neither renewed
// nor opened, also by the agent's next life.
func TestNotNamed(t *testing.T) {
	t.Parallel()
	l := newLeased(t, time.Second)
	l.protect()
	l.say()
	eventually(t, "the lease running out", func() bool { return !l.open() })
	l.stop()
	l.start()
	before := l.until()
	l.say("fence")
	eventually(t, "opening again", l.open)
	if l.standing() != 1 || l.until() <= before {
		t.Errorf("%d fences", l.standing())
	}
	l.say("evict")
	eventually(t, "the machine's end", func() bool { return !l.alive() })
	eventually(t, "the fence's end", func() bool { return l.standing() == 0 })
}

// TestUnfenced: what cannot be fenced is said, and not reported as fenced.
func TestUnfenced(t *testing.T) {
	t.Parallel()
	l := newLeased(t, time.Hour)
	l.fences.Fail = errBroken
	l.say("fence")
	eventually(t, "the reason", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.why == errBroken.Error()
	})
	if l.reports() || l.standing() != 0 {
		t.Error("reported as fenced")
	}
}
