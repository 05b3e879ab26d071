package node_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/fencetest"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/repotest"
)

// jumpingClock is the real one plus what a test adds.
type jumpingClock struct {
	node.BootClock
	ahead atomic.Int64
}

func (c *jumpingClock) Now() snapline.Instant {
	return c.BootClock.Now().Add(time.Duration(c.ahead.Load()))
}

// TestAlive: an agent without a coordinator is alive, and one whose hellos stand
// still is not; neither is a coordinator that does not look at its agents.
func TestAlive(t *testing.T) {
	clock := &jumpingClock{}
	bus := bustest.NewBus()
	a, err := node.NewAgent(node.AgentConfig{Host: "h1", Dir: t.TempDir(), Bus: bus, Clock: clock, Hypervisor: &fakeHypervisor{newCloud(), "h1"},
		Gates: &fakeGates{open: map[*fakeGate]bool{}}, Fences: &fencetest.Memory{Now: clock.Now},
		OpenRepository: func(context.Context, string) (snapline.Repository, error) { return repotest.NewMemory(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := node.NewCoordinator(node.CoordinatorConfig{Bus: bustest.NewBus(), Store: bustest.NewStore(), Repository: repotest.NewMemory(), Location: "memory", Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	if a.Alive() || c.Alive() {
		t.Error("they do not run yet")
	}
	for name, d := range map[string]interface {
		Run(context.Context) error
		Ready() <-chan struct{}
		Alive() bool
	}{"agent": a, "coordinator": c} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		<-d.Ready()
		eventually(t, name+" is alive", d.Alive)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		clock.ahead.Add(int64(time.Minute))
		if d.Alive() {
			t.Errorf("the %s has not moved for a minute", name)
		}
	}
}
