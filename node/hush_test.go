package node_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/fencetest"
	"github.com/snapline/snapline/protocol"
)

// client is somebody outside the group: it asks each member for the next number, and
// keeps what it is answered. A member that gives a number twice has broken a promise.
type client struct {
	s *site

	mu     sync.Mutex
	acked  map[snapline.MemberName][]time.Time // when each number came
	broken []ack
}

type ack struct {
	member snapline.MemberName
	at     time.Time
}

const asking = 20 * time.Millisecond

// newClient asks until the test has ended.
func newClient(s *site) *client {
	c := &client{s: s, acked: map[snapline.MemberName][]time.Time{}}
	s.t.Cleanup(s.background(func(ctx context.Context) error {
		tick := time.NewTicker(asking)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				c.ask()
			}
		}
	}))
	return c
}

func (c *client) ask() {
	for i := 1; i <= 3; i++ {
		for h := range c.s.fences { // a zombie may answer, too
			if n, ok := c.s.answers(h, member(i)); ok {
				c.heard(member(i), n)
			}
		}
	}
}

// answers has a member count one further and say so; ok if that is heard.
func (s *site) answers(h snapline.HostName, m snapline.MemberName) (n int, ok bool) {
	vm, tap := s.cloud.find(h, m), "tap-"+string(m)
	if vm == nil || !s.fences[h].In(tap, fencetest.Stranger) {
		return 0, false
	}
	vm.mu.Lock()
	if vm.status != "running" {
		vm.mu.Unlock()
		return 0, false
	}
	n, _ = strconv.Atoi(vm.state)
	n++
	vm.state = strconv.Itoa(n)
	vm.mu.Unlock()
	out, _ := s.fences[h].Out(tap)
	return n, out
}

func (c *client) heard(m snapline.MemberName, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.acked[m]
	if n <= len(all) {
		for _, at := range all[n-1:] {
			c.broken = append(c.broken, ack{m, at})
		}
		all = all[:n-1]
	}
	for len(all) < n { // what was counted and not heard
		all = append(all, time.Now())
	}
	c.acked[m] = all
}

// last is when the member was heard last.
func (c *client) last(m snapline.MemberName) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all := c.acked[m]; len(all) > 0 {
		return all[len(all)-1]
	}
	return time.Time{}
}

// all waits until every member is heard.
func (c *client) all(when string) {
	c.s.t.Helper()
	began := time.Now()
	for i := 1; i <= 3; i++ {
		eventually(c.s.t, fmt.Sprintf("%s: %s is heard", when, member(i)), func() bool { return c.last(member(i)).After(began) })
	}
}

// silent reports whether nobody is heard for a while.
func (c *client) silent(for_ time.Duration) bool {
	began := time.Now()
	time.Sleep(for_) // virtual
	for i := 1; i <= 3; i++ {
		if c.last(member(i)).After(began) {
			return false
		}
	}
	return true
}

func (c *client) promises() []ack {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.broken)
}

// kept wants every promise to be kept.
func (c *client) kept() {
	c.s.t.Helper()
	if b := c.promises(); len(b) > 0 {
		c.s.t.Errorf("%d promises are broken, the first one of %s, given at %v", len(b), b[0].member, b[0].at)
	}
}

// hushSite runs a test in virtual time, with a client of the group.
func hushSite(t *testing.T, protected bool, test func(t *testing.T, s *site, c *client)) {
	synctest.Test(t, func(t *testing.T) {
		s := newBareSite(t, func(s *site) { s.clock, s.lease = bubbleClock{}, snapline.DefaultLease })
		if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
			t.Fatal(err)
		}
		if protected {
			s.protect(every(time.Hour))
			s.calm()
		}
		s.fences["h4"] = &fencetest.Memory{Now: s.clock.Now} // before the client asks for it
		c := newClient(s)
		c.all("at first")
		test(t, s, c)
	})
}

func (s *site) beginDrain(deadline time.Duration) snapline.Operation {
	s.t.Helper()
	op, err := s.c.Drain(s.t.Context(), snapline.DrainRequest{Host: "h2", DeadlineMS: float64(deadline.Milliseconds())})
	if err != nil {
		s.t.Fatal(err)
	}
	return op
}

// hushFences counts the fences that are there to silence somebody.
func (s *site) hushFences() (n int) {
	for h := range s.fences {
		for _, r := range s.rulesAt(h) {
			if r.HushedUntil != snapline.Never {
				n++
			}
		}
	}
	return n
}

// A drain takes nothing back that anybody has heard, however long storing takes.
func TestDrainBreaksNoPromise(t *testing.T) {
	for _, protected := range []bool{false, true} {
		t.Run(fmt.Sprintf("protected %v", protected), func(t *testing.T) {
			hushSite(t, protected, func(t *testing.T, s *site, c *client) {
				release := s.cloud.holdAt("finish n1")
				op := s.beginDrain(time.Minute)
				if protected { // else it has no snapshot by which its size was known
					<-s.cloud.heldAt("finish n1")
				} else {
					<-s.cloud.heldAt("finish n1")
					release()
					release = s.cloud.holdAt("finish n1")
					c.all("while the first snapshot is stored")
					<-s.cloud.heldAt("finish n1")
				}
				if !c.silent(15 * time.Second) { // longer than one deadline of the kernel
					t.Error("somebody is heard while the snapshot is stored")
				}
				release()
				op, _ = s.follow(op, nil)
				if op.Error != nil || len(op.Drain.Moved) != 1 {
					t.Fatalf("drain %+v, %v", op.Drain, op.Error)
				}
				m := op.Drain.Moved[0]
				if m.TakenBackMS != 0 || m.SilentMS < 15000 || m.SilentMS > 17000 || m.Reasons != nil {
					t.Errorf("moved %+v", m)
				}
				c.all("after the drain")
				c.kept()
				restored := s.events(snapline.EventRestored)
				if e := restored[len(restored)-1]; e.Lost != nil || !strings.Contains(e.Text, "silent for 15.") {
					t.Errorf("restored: %+v", e)
				}
				if e := s.events(snapline.EventDrained); len(e) != 1 || !strings.Contains(e[0].Text, "nothing is taken back that others have heard") {
					t.Errorf("drained: %+v", e)
				}
				if n := s.hushFences(); n > 0 {
					t.Errorf("%d fences are left that silence somebody", n)
				}
				if protected {
					s.calm()
				}
				s.mustTake()
			})
		})
	}
}

// The client is no fool: of a group that cannot be silenced a drain takes something
// back, which is told, with the reason.
func TestDrainOfWhoCannotBeSilenced(t *testing.T) {
	hushSite(t, false, func(t *testing.T, s *site, c *client) {
		s.mustTake()
		s.fences["h3"].SetFail(errBroken)
		release := s.cloud.holdAt("finish n1")
		op := s.beginDrain(time.Minute)
		<-s.cloud.heldAt("finish n1")
		c.all("while the snapshot is stored")
		time.Sleep(3 * time.Second)
		s.fences["h3"].SetFail(nil) // a restore needs them
		release()
		op, _ = s.follow(op, nil)
		if op.Error != nil {
			t.Fatal(op.Error)
		}
		m := op.Drain.Moved[0]
		if m.TakenBackMS < 3000 || m.SilentMS != 0 || len(m.Reasons) != 2 || m.Reasons[1].Member != "n3" || !strings.Contains(m.Reasons[1].Text, errBroken.Error()) {
			t.Errorf("moved %+v", m)
		}
		c.all("after the drain")
		if c.promises() == nil {
			t.Error("the group went on talking while its snapshot was stored, and nothing was taken back")
		}
		if e := s.events(snapline.EventDrained); !strings.Contains(e[0].Text, "could not be silenced") {
			t.Errorf("drained: %+v", e)
		}
	})
}

// Nobody is silenced for a drain that has no room to go to.
func TestNoRoomNoSilence(t *testing.T) {
	hushSite(t, true, func(t *testing.T, s *site, c *client) {
		apart := s.group()
		apart.AntiAffinity = [][]snapline.MemberName{{"n1", "n2", "n3"}}
		if _, err := s.c.Apply(t.Context(), apart); err != nil {
			t.Fatal(err)
		}
		before := len(s.snapshots())
		op := s.beginDrain(time.Minute)
		for range 50 {
			if c.silent(5 * asking) {
				t.Fatal("somebody is silent")
			}
		}
		if n := len(s.snapshots()); n != before {
			t.Errorf("%d snapshots were taken", n-before)
		}
		s.startAgent("h4")
		if op, _ = s.follow(op, nil); op.Error != nil || op.Drain.Moved[0].TakenBackMS != 0 {
			t.Errorf("drain %+v, %v", op.Drain, op.Error)
		}
		c.kept()
	})
}

// A drain that does not work out lets the group speak at once, and does not silence
// it again and again.
func TestVainSilenceEndsAtOnce(t *testing.T) {
	for _, step := range []string{"finish n2", "plan n2", "cut n2"} {
		t.Run(step, func(t *testing.T) {
			hushSite(t, true, func(t *testing.T, s *site, c *client) {
				s.cloud.failAt(step, errBroken)
				op := s.beginDrain(2 * time.Minute)
				quiet, spoke := time.Duration(0), time.Duration(0)
				for range 200 {
					if c.silent(100 * time.Millisecond) {
						quiet += 100 * time.Millisecond
					} else {
						spoke += 100 * time.Millisecond
					}
				}
				t.Logf("silent for %v of 20 s", quiet)
				if spoke < 2*quiet {
					t.Errorf("silent for %v, heard for %v", quiet, spoke)
				}
				s.cloud.failAt(step, nil)
				if op, _ = s.follow(op, nil); op.Error != nil || op.Drain.Moved[0].TakenBackMS != 0 {
					t.Errorf("drain %+v, %v", op.Drain, op.Error)
				}
				c.all("after the drain")
				c.kept()
			})
		})
	}
}

// A restore that has stopped the members is repeated until it works: there is nobody
// to take another snapshot of.
func TestDrainGoesOnWithStoppedMembers(t *testing.T) {
	hushSite(t, false, func(t *testing.T, s *site, c *client) {
		s.mustTake()
		s.cloud.failAt("load n2", errBroken)
		op := s.beginDrain(time.Minute)
		if !c.silent(20 * time.Second) {
			c.silent(20 * time.Second) // the first had begun too early
		}
		s.cloud.failAt("load n2", nil)
		if op, _ = s.follow(op, nil); op.Error != nil {
			t.Fatal(op.Error)
		}
		c.all("after the drain")
		c.kept()
		if n := len(s.snapshots()); n != 2 {
			t.Errorf("%d snapshots", n)
		}
	})
}

// The coordinator dies while the group is silent: the kernel's deadline ends that.
func TestCoordinatorDiesInSilence(t *testing.T) {
	for _, protected := range []bool{false, true} {
		t.Run(fmt.Sprintf("protected %v", protected), func(t *testing.T) {
			hushSite(t, protected, func(t *testing.T, s *site, c *client) {
				if !protected {
					s.mustTake()
				}
				release := s.cloud.holdAt("finish n1")
				defer release()
				s.beginDrain(10 * time.Minute)
				<-s.cloud.heldAt("finish n1")
				s.stopC()
				if protected { // its lease keeps it silent longer: nobody may know that it is alone
					s.startCoordinator()
				}
				time.Sleep(protocol.HushSpan + 2*time.Second)
				c.all("after the deadline")
				c.kept()
				if !protected {
					s.startCoordinator()
				}
				s.waitOnline(3)
				eventually(t, "no fence that silences", func() bool { return s.hushFences() == 0 })
			})
		})
	}
}

// The deadline of the drain passes in the middle of the restore's plan. The group is
// heard again, and what the restore then takes back is told to the moment.
func TestSilenceEndsBeforeTheStop(t *testing.T) {
	hushSite(t, false, func(t *testing.T, s *site, c *client) {
		s.mustTake()
		release := s.cloud.holdAt("plan n1")
		op := s.beginDrain(6 * time.Second)
		<-s.cloud.heldAt("plan n1")
		if !c.silent(4 * time.Second) {
			t.Error("heard before the deadline")
		}
		time.Sleep(3 * time.Second)
		c.all("after the deadline")
		release()
		op, _ = s.follow(op, nil)
		if op.Error != nil {
			t.Fatal(op.Error)
		}
		m := op.Drain.Moved[0]
		if m.TakenBackMS < 500 || m.TakenBackMS > 4000 || m.SilentMS < 4000 {
			t.Errorf("moved %+v", m)
		}
		c.all("after the drain")
		s.admitted(c.promises())
		if c.promises() == nil {
			t.Error("nothing was taken back")
		}
	})
}

// admitted wants every broken promise to be in an interval of which a restore has said
// that it is taken back.
func (s *site) admitted(broken []ack) {
	s.t.Helper()
	restored := s.events(snapline.EventRestored)
	untold := slices.DeleteFunc(broken, func(b ack) bool {
		return slices.ContainsFunc(restored, func(e snapline.Event) bool {
			return e.Lost != nil && !b.at.Before(e.Lost.From) && !b.at.After(e.Lost.To)
		})
	})
	if len(untold) == 0 {
		return
	}
	all, err := s.c.Events(s.t.Context(), "", 0)
	for _, e := range all {
		s.t.Logf("%v %s %s", e.At, e.Kind, e.Text)
	}
	s.t.Errorf("%d promises are broken that no event tells of, the first one of %s, given at %v (%v)", len(untold), untold[0].member, untold[0].at, err)
}

// What a killed agent has silenced its next life finds. It ends with the first
// answer of a coordinator that knows nothing of it, and by its deadline without one.
func TestNextLifeEndsSilence(t *testing.T) {
	for _, coordinator := range []bool{true, false} {
		t.Run(fmt.Sprintf("coordinator %v", coordinator), func(t *testing.T) {
			hushSite(t, true, func(t *testing.T, s *site, c *client) {
				s.stopA["h1"]()
				raised, err := s.fences["h1"].Raise(t.Context(), snapline.FenceSpec{
					Owner: snapline.FenceOwner{Group: "g", Member: s.group().Members[0]}, NICs: []snapline.NIC{{ID: "net0", Tap: "tap-n1"}},
					Rules: snapline.FenceRules{OpenUntil: snapline.Always, HushedUntil: bubbleClock{}.Now().Add(4 * time.Second)}})
				if err != nil {
					t.Fatal(err)
				}
				raised.Close()
				if !coordinator {
					s.stopC()
				}
				s.startAgent("h1")
				time.Sleep(1500 * time.Millisecond)
				if left := s.hushFences() > 0; left == coordinator {
					t.Errorf("after a second: silenced: %v", left)
				}
				time.Sleep(4 * time.Second)
				if n := s.hushFences(); n > 0 {
					t.Errorf("%d fences are left", n)
				}
				if !coordinator {
					s.startCoordinator()
				}
				s.waitOnline(3)
				s.calm() // its lease was not touched
			})
		})
	}
}

// An agent that is stopped in order lets its members be heard at once.
func TestStoppedAgentEndsSilence(t *testing.T) {
	hushSite(t, false, func(t *testing.T, s *site, c *client) {
		s.mustTake()
		release := s.cloud.holdAt("finish n1")
		defer release()
		s.beginDrain(time.Minute)
		<-s.cloud.heldAt("finish n1")
		if !c.silent(time.Second) {
			t.Error("heard")
		}
		s.stopA["h3"]()
		began := time.Now()
		eventually(t, "n3 is heard", func() bool { return c.last("n3").After(began) })
		if took := time.Since(began); took > time.Second {
			t.Errorf("after %v", took)
		}
		time.Sleep(7 * time.Second) // its host counts as lost, and the round is aborted
		c.all("after the round")
		s.startAgent("h3")
	})
}
