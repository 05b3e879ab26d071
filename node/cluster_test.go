package node_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/protocol"
)

// cluster is three coordinators' processes and three agents, in virtual time.
type cluster struct {
	*site
	processes []*process
	behind    map[snapline.HostName]*process // of the agents

	mu     sync.Mutex
	leads  *process
	leader *node.Coordinator
	trace  func(p *process, what any) // of the coordinators' machines
}

// newCluster must be called inside of a bubble; close ends everything.
func newCluster(t *testing.T) (c *cluster, end func()) {
	c = &cluster{site: newQuietSite(t)}
	c.clock = bubbleClock{}
	c.behind = map[snapline.HostName]*process{}
	for i := 1; i <= 3; i++ {
		c.behind[host(i)] = &process{site: c.site, name: string(host(i)), dead: make(chan struct{})}
	}
	c.wrap = func(h snapline.HostName, b snapline.Bus) snapline.Bus { return processBus{b, c.behind[h]} }
	for i := range 3 {
		c.start(fmt.Sprintf("c%d", i+1))
	}
	for i := 1; i <= 3; i++ {
		c.startAgent(host(i))
		c.cloud.boot(host(i), member(i), "state of "+string(member(i)))
	}
	c.lead(nil)
	if _, err := c.c.Apply(t.Context(), c.group()); err != nil {
		t.Fatal(err)
	}
	c.waitOnline(3)
	time.Sleep(3 * time.Second) // virtual: repositories are open, and the others have seen the leader at work
	return c, func() {
		for _, stop := range c.stopA {
			stop()
		}
		for _, p := range c.processes {
			p.kill()
			p.stop()
		}
		c.noGates()
	}
}

// start starts a coordinator that shares the lead with the others.
func (c *cluster) start(name string) {
	p := &process{site: c.site, name: name, dead: make(chan struct{})}
	candidate := &node.Candidate{Store: processStore{c.store, p}, Name: name, Clock: bubbleClock{}}
	p.stop = c.background(func(ctx context.Context) error {
		return candidate.Run(ctx, func(ctx context.Context, term *node.Term) error {
			coordinator, err := node.NewCoordinator(node.CoordinatorConfig{Bus: processBus{c.bus.As(snapline.ToCoordinator), p}, Store: processStore{c.store, p}, Repository: processRepo{c.repo, p},
				Location: "memory", Clock: bubbleClock{}, Term: term, Trace: func(_ string, _ snapline.Instant, what any) {
					c.mu.Lock()
					trace := c.trace
					c.mu.Unlock()
					if trace != nil {
						trace(p, what)
					}
				}})
			if err != nil {
				return err
			}
			go func() {
				select {
				case <-coordinator.Ready():
					c.mu.Lock()
					defer c.mu.Unlock()
					c.leads, c.leader = p, coordinator
				case <-ctx.Done():
				}
			}()
			return coordinator.Run(ctx)
		})
	})
	c.processes = append(c.processes, p)
}

// lead waits until one of the coordinators leads, and not that one; then s.c is
// it.
func (c *cluster) lead(not *process) *process {
	c.t.Helper()
	limit := time.After(time.Minute)
	for {
		c.mu.Lock()
		p, leader := c.leads, c.leader
		c.mu.Unlock()
		if p != nil && p != not {
			c.c = leader
			return p
		}
		select {
		case <-limit:
			c.t.Fatal("nobody leads")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// at does something to the leader's process as soon as its machine gets there.
func (c *cluster) at(reached func(what any) bool, act func(*process)) (done <-chan struct{}) {
	ch := make(chan struct{})
	once := sync.OnceFunc(func() { close(ch) })
	c.mu.Lock()
	defer c.mu.Unlock()
	victim := c.leads
	c.trace = func(p *process, what any) {
		select {
		case <-ch:
			return
		default:
		}
		if p == victim && reached(what) {
			act(p)
			once()
		}
	}
	return ch
}

func phase(p protocol.Phase) func(any) bool {
	return func(what any) bool {
		n, ok := what.(protocol.Notify)
		return ok && n.Phase == p && n.Member == ""
	}
}

func restorePhase(p protocol.RestorePhase) func(any) bool {
	return func(what any) bool {
		n, ok := what.(protocol.RestoreNotify)
		return ok && n.Phase == p && n.Member == ""
	}
}

// restoreMoments are when a leader fails in a restore: what has been touched by
// then is for the next one to finish.
var restoreMoments = []struct {
	name    string
	touched bool
	reached func() func(any) bool
}{
	{"plan", false, func() func(any) bool { return restorePhase(protocol.RestorePlan) }},
	{"stop", false, func() func(any) bool { return restorePhase(protocol.RestoreStop) }},
	{"stopping", true, func() func(any) bool {
		sent := 0
		return func(what any) bool { // the first has gone
			if s, ok := what.(protocol.RestoreSend); ok {
				if _, ok := s.Msg.(protocol.StopMembers); ok {
					sent++
				}
			}
			return sent == 2
		}
	}},
	{"load", true, func() func(any) bool { return restorePhase(protocol.RestoreLoad) }},
	{"open", true, func() func(any) bool { return restorePhase(protocol.RestoreOpen) }},
	{"end", true, func() func(any) bool {
		return func(what any) bool { _, ok := what.(protocol.RestoreDone); return ok }
	}},
}

var takePhases = []protocol.Phase{protocol.PhasePrepare, protocol.PhaseProbe, protocol.PhaseArm, protocol.PhaseCut,
	protocol.PhaseDisarm, protocol.PhaseStore, protocol.PhaseCommit}

// bothWays runs a test with a leader that is killed, and with one that is
// frozen and wakes up when another one leads and has worked.
func bothWays(t *testing.T, name string, test func(t *testing.T, c *cluster, strike func(*process), wake func(*process))) {
	for _, way := range []string{"killed", "frozen"} {
		t.Run(way+" in "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, end := newCluster(t)
				defer end()
				if way == "killed" {
					test(t, c, (*process).kill, func(*process) {})
					return
				}
				test(t, c, (*process).freeze, func(p *process) {
					p.unfreeze()
					time.Sleep(30 * time.Second) // virtual: for whatever it would do still
				})
			})
		})
	}
}

// TestLeaderFailsInTake: another one ends the round, and what is said of it is
// true for good.
func TestLeaderFailsInTake(t *testing.T) {
	for _, at := range takePhases {
		bothWays(t, string(at), func(t *testing.T, c *cluster, strike, wake func(*process)) {
			old := c.lead(nil)
			struck := c.at(phase(at), strike)
			op, err := c.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
			if err != nil {
				t.Fatal(err)
			}
			<-struck
			began := time.Now()
			c.lead(old)
			t.Logf("another one serves after %v", time.Since(began))
			c.failed(op)
			c.assertClean()
			if id := c.mustTake(); id != "g-2" {
				t.Errorf("took %s", id)
			}
			wake(old)
			c.failed(op)
			c.only("g-2")
			if id := c.mustTake(); id != "g-3" {
				t.Errorf("took %s", id)
			}
		})
	}
}

// TestLeaderFailsAfterCommit: the snapshot exists, and its operation says so.
func TestLeaderFailsAfterCommit(t *testing.T) {
	bothWays(t, "committed", func(t *testing.T, c *cluster, strike, wake func(*process)) {
		old := c.lead(nil)
		struck := make(chan struct{})
		old.after = func(op string) {
			if op == "committed" {
				strike(old)
				close(struck)
			}
		}
		op, err := c.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		<-struck
		c.lead(old)
		done, err := c.c.Operation(t.Context(), op.ID)
		if err != nil || done.State != "done" || done.Take == nil || done.Take.ID != "g-1" || len(done.Take.Members) != 3 {
			t.Errorf("operation %+v, %v", done, err)
		}
		c.only("g-1")
		eventually(t, "every member is let go of", func() bool { return c.gatesUp() == 0 })
		old.after = nil
		wake(old)
		c.only("g-1")
		c.mustTake()
	})
}

// failed checks that a take's operation has ended without a snapshot.
func (c *cluster) failed(op snapline.Operation) {
	c.t.Helper()
	got, err := c.c.Operation(c.t.Context(), op.ID)
	if err != nil || got.State != "failed" || got.Error == nil || got.Error.Code != snapline.CodeFailed {
		c.t.Errorf("operation %+v, %v", got, err)
	}
	if _, err := c.c.Snapshot(c.t.Context(), op.Snapshot); code(err) != snapline.CodeNotFound {
		c.t.Errorf("snapshot %s: %v", op.Snapshot, err)
	}
	eventually(c.t, "nothing is stored of "+string(op.Snapshot), func() bool { return !c.repoHolds(op.Snapshot) })
}

// only checks which snapshots exist.
func (c *cluster) only(id snapline.SnapshotID) {
	c.t.Helper()
	all, err := c.c.Snapshots(c.t.Context(), "g")
	if err != nil || len(all) != 1 || all[0].ID != id {
		c.t.Errorf("snapshots %v, %v", all, err)
	}
}

// TestLeaderFailsInRestore: another one brings the group back, once members have
// been stopped; before, nothing was touched.
func TestLeaderFailsInRestore(t *testing.T) {
	for _, at := range restoreMoments {
		bothWays(t, at.name, func(t *testing.T, c *cluster, strike, wake func(*process)) {
			id := c.mustTake()
			for i := 1; i <= 3; i++ {
				c.cloud.boot(host(i), member(i), "a later state")
			}
			place := map[snapline.MemberName]snapline.HostName{"n1": "h2", "n2": "h3", "n3": "h1"}
			old := c.lead(nil)
			struck := c.at(at.reached(), strike)
			op, err := c.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id, Place: place})
			if err != nil {
				t.Fatal(err)
			}
			<-struck
			c.lead(old)
			if !at.touched {
				if _, err := c.c.Operation(t.Context(), op.ID); code(err) != snapline.CodeNotFound {
					t.Errorf("a restore that has touched nothing: %v", err)
				}
				c.running(nil, "a later state")
				wake(old)
				c.running(nil, "a later state")
			} else {
				op, _ = c.follow(op, nil)
				if op.State != "done" || op.Restore == nil || op.Restore.ID != id {
					t.Fatalf("operation %+v, %v", op, op.Error)
				}
				c.running(place, "")
				wake(old)
				c.running(place, "")
			}
			c.mustTake() // the group is where the coordinator thinks
			if op := c.restore(id, nil); op.Error != nil {
				t.Error(op.Error)
			}
			c.running(nil, "")
			for _, prefix := range []string{"restore.", "stray."} {
				if keys, err := c.store.Keys(t.Context(), prefix); err != nil || len(keys) > 0 {
					t.Errorf("notes of restores: %q, %v", keys, err)
				}
			}
		})
	}
}

// running checks that each member runs once, where it was placed (or is at
// home), and with that state (or the snapshot's).
func (c *cluster) running(place map[snapline.MemberName]snapline.HostName, state string) {
	c.t.Helper()
	for i := 1; i <= 3; i++ {
		want, at := state, host(i)
		if want == "" {
			want = "state of " + string(member(i))
		}
		if place != nil {
			at = place[member(i)]
		}
		for j := 1; j <= 3; j++ {
			vm := c.cloud.find(host(j), member(i))
			switch {
			case host(j) != at && vm != nil:
				c.t.Errorf("%s is on %s, too", member(i), host(j))
			case host(j) == at && (vm == nil || vm.now() != "running, "+want):
				c.t.Errorf("%s on %s is not what it was", member(i), at)
			}
		}
	}
}

// TestLeaderResigns: nobody waits for one that ends as it should.
func TestLeaderResigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := newCluster(t)
		defer end()
		old := c.lead(nil)
		began := time.Now()
		old.stop()
		c.lead(old)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("another one leads after %v", took)
		}
		c.mustTake()
	})
}

// TestFollowersLoseAndKeepTheLead: who leads goes on leading while the others
// come and go.
func TestFollowersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := newCluster(t)
		defer end()
		leader := c.lead(nil)
		for _, p := range c.processes {
			if p != leader {
				p.kill()
			}
		}
		time.Sleep(time.Minute)
		c.start("c4")
		time.Sleep(time.Minute)
		if c.lead(nil) != leader {
			t.Error("the lead has changed")
		}
		c.mustTake()
	})
}

// TestStoreAway: without its store a leader stops acting before anybody else may
// lead, and goes on when it is back.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := newCluster(t)
		defer end()
		id := c.mustTake()
		before := c.lead(nil)
		c.mu.Lock()
		coordinator := c.leader
		c.leads, c.leader = nil, nil
		c.mu.Unlock()
		back := c.store.Away()
		time.Sleep(node.LeaderLease)
		if _, err := coordinator.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id}); code(err) != snapline.CodeUnavailable {
			t.Errorf("a restore without a lead: %v", err)
		}
		back()
		c.lead(nil)
		t.Logf("%s led before", before.name)
		c.running(nil, "")
		c.mustTake()
	})
}
