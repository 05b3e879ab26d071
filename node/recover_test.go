package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// goOn gives every member a later state, as time does.
func (s *site) goOn() {
	for i := 1; i <= 3; i++ {
		vm := s.cloud.find(host(i), member(i))
		vm.mu.Lock()
		vm.state = "a later state of " + string(member(i))
		vm.mu.Unlock()
	}
}

// runsAt reports whether a member runs on a host with what it had at the cut.
func (s *site) runsAt(h snapline.HostName, m snapline.MemberName) bool {
	vm := s.cloud.find(h, m)
	return vm != nil && vm.now() == "running, state of "+string(m)
}

// A host falls silent while its machine runs on. The group comes back by itself
// without it, and the zombie is gone when the host is back.
func TestLostHostIsRecoveredFrom(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.goOn()
	lost := time.Now()
	s.stopA["h2"]()
	e := s.awaitEvent(snapline.EventRecovered, 0)
	if since := time.Since(lost); since < snapline.MinLease {
		t.Errorf("restored %v after the loss, before the lease had run out", since)
	}
	st, err := s.c.Status(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range st.Members {
		if m.Host == "h2" || !s.runsAt(m.Host, m.Name) {
			t.Errorf("%s on %s does not run with the state of the cut", m.Name, m.Host)
		}
	}
	if s.cloud.find("h2", "n2") == nil {
		t.Fatal("somebody ended the zombie although its host could not be asked")
	}
	restored := s.awaitEvent(snapline.EventRestored, 0)
	if restored.Lost == nil || e.Snapshot != "g-1" {
		t.Errorf("recovered %+v, restored %+v", e, restored)
	}
	s.startAgent("h2")
	eventually(t, "the zombie is ended", func() bool { return s.cloud.find("h2", "n2") == nil })
	if e := s.awaitEvent(snapline.EventEvicted, 0); e.Host != "h2" || e.Group != "g" {
		t.Errorf("event %+v", e)
	}
	s.calm()
	s.mustTake()
}

// With nowhere to go the group waits. The host comes back with its machine alive
// and the group goes on as if nothing had been.
func TestNoRoomUntilTheHostIsBack(t *testing.T) {
	for _, machine := range []string{"alive", "gone"} {
		t.Run(machine, func(t *testing.T) {
			s := newProtected(t, every(time.Hour))
			s.calm()
			apart := s.group()
			apart.AntiAffinity = [][]snapline.MemberName{{"n1", "n2", "n3"}}
			if _, err := s.c.Apply(t.Context(), apart); err != nil {
				t.Fatal(err)
			}
			s.goOn()
			s.stopA["h2"]()
			s.awaitEvent(snapline.EventNoRoom, 0)
			p := s.protection()
			if p.State != snapline.ProtectionNoRoom || len(p.Reasons) == 0 || !strings.Contains(p.Reasons[0].Text, "kept apart") {
				t.Errorf("protection %+v", p)
			}
			plan, err := s.c.PlanRecovery(t.Context(), snapline.RecoverRequest{Group: "g"})
			if err != nil || plan.Place != nil || len(plan.Reasons) == 0 || plan.Snapshot != "g-1" {
				t.Errorf("plan %+v, %v", plan, err)
			}
			if machine == "gone" {
				s.cloud.find("h2", "n2").Kill(t.Context())
			}
			s.startAgent("h2")
			s.awaitEvent(snapline.EventRecovered, 0)
			want := "running, a later state of n2"
			if machine == "gone" {
				want = "running, state of n2"
			}
			if got := s.cloud.find("h2", "n2").now(); got != want {
				t.Errorf("n2 is %q, want %q", got, want)
			}
			s.calm()
		})
	}
}

// What the coordinator has decided its successor knows: a host that is lost
// while there is none is found out by the next one.
func TestRecoveryByTheNextCoordinator(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.stopC()
	s.stopA["h2"]()
	s.startCoordinator()
	eventually(t, "somebody is online", func() bool {
		all, err := s.c.Hosts(t.Context())
		return err == nil && len(all) == 2
	})
	// For three leases it waits for agents that have not found it yet.
	s.awaitEventWithin(30*time.Second, snapline.EventRecovered, 0)
	s.calm()
}

// A member without a fence may be running still: nobody restores it until a
// person says that its host is off.
func TestUnfencedMemberNeedsAPerson(t *testing.T) {
	s := newBareSite(t, func(s *site) {
		s.lease = snapline.MinLease
	})
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	s.fences["h2"].Fail = errBroken
	s.protect(every(time.Hour))
	eventually(t, "a protection that complains", func() bool {
		p := s.protection()
		return p.State == snapline.ProtectionUnfenced && len(p.Reasons) == 1 && strings.Contains(p.Reasons[0].String(), errBroken.Error())
	})
	eventually(t, "a snapshot", func() bool { return len(s.snapshots()) > 0 })
	s.stopA["h2"]()
	s.awaitEvent(snapline.EventNotRecovered, 0)
	if p := s.protection(); p.State != snapline.ProtectionBlocked || !strings.Contains(p.Reasons[0].Hint, "--dead h2") {
		t.Errorf("protection %+v", p)
	}
	if _, err := s.c.Recover(t.Context(), snapline.RecoverRequest{Group: "g"}); code(err) != snapline.CodeRefused {
		t.Errorf("recover: %v", err)
	}
	s.cloud.find("h2", "n2").Kill(t.Context())
	op, _ := s.follow(s.c.Recover(t.Context(), snapline.RecoverRequest{Group: "g", Dead: []snapline.HostName{"h2"}}))
	if op.Error != nil {
		t.Fatal(op.Error)
	}
	s.calm()
}

// A machine that crashes on a host that is there is missed, too.
func TestCrashedMachineIsRecoveredFrom(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.goOn()
	s.cloud.find("h3", "n3").Kill(t.Context())
	s.awaitEvent(snapline.EventRecovered, 0)
	for i := 1; i <= 3; i++ {
		if !s.runsAt(host(i), member(i)) {
			t.Errorf("%s does not run where it was, with the state of the cut", member(i))
		}
	}
}

// A restore that fails is tried again, and a damaged snapshot is passed over.
func TestRecoveryTriesAgain(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.goOn()
	s.damage(s.mustTake(), "n1")
	s.cloud.failAt("load n2", errBroken)
	s.stopA["h2"]()
	s.awaitEvent(snapline.EventNotRecovered, 0)
	s.cloud.failAt("load n2", nil)
	if e := s.awaitEvent(snapline.EventRecovered, 0); e.Snapshot != "g-1" {
		t.Errorf("recovered from %s", e.Snapshot)
	}
}

// A take that fails because a machine is gone does not put off the look that
// finds it gone, nor does the protection call itself failing for long when the
// group runs again.
func TestFailedTakeLooksForMachines(t *testing.T) {
	s := newProtected(t, every(time.Minute), func(s *site) { s.looksSeldom = true })
	s.calm()
	s.goOn()
	s.cloud.find("h3", "n3").Kill(t.Context())
	s.c.TakeNow("g")
	s.awaitEvent(snapline.EventRecovered, 0)
	eventually(t, "a protection that works", func() bool { return s.protection().State == snapline.ProtectionOK })
}
