package node_test

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/fencetest"
	"github.com/snapline/snapline/node"
)

func (s *site) rulesAt(h snapline.HostName) (all []snapline.FenceRules) {
	s.t.Helper()
	standing, err := s.fences[h].Standing(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range standing {
		r, err := f.Rules()
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestQuarantine: a restored member marks, and refuses what is not marked, from
// before it runs; afterwards nothing is left of that.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.stopC() // this one is to have a quarantine that can be looked at
	s.quarantine = 2 * time.Second
	s.startCoordinator()
	s.waitOnline(3)
	id := s.mustTake()
	release := s.cloud.holdAt("resume n2")
	op, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id})
	if err != nil {
		t.Fatal(err)
	}
	<-s.cloud.heldAt("resume n2")
	// n2 is about to run: its rules are up. What comes to any member is judged by
	// the same rules.
	if s.fences["h2"].In("tap-n2", fencetest.OldTimeline) {
		t.Error("a packet of the old timeline reaches a member before it runs")
	}
	if _, marked := s.fences["h2"].Out("tap-n2"); !marked {
		t.Error("no mark before it runs")
	}
	release()
	if op, _ := s.follow(op, nil); op.Error != nil {
		t.Fatal(op.Error)
	}
	for i := 1; i <= 3; i++ {
		f, tap := s.fences[host(i)], "tap-"+string(member(i))
		if out, marked := f.Out(tap); !out || !marked {
			t.Errorf("%s: leaves: %v, marked: %v", tap, out, marked)
		}
		for p, want := range map[fencetest.Packet]bool{fencetest.OldTimeline: false, fencetest.Restored: true, fencetest.Stranger: true} {
			if got := f.In(tap, p); got != want {
				t.Errorf("%s: packet %d arrives: %v", tap, p, got)
			}
		}
	}
	// A round waits for the end of it.
	s.mustTake()
	now := node.BootClock{}.Now()
	for i := 1; i <= 3; i++ {
		for _, r := range s.rulesAt(host(i)) {
			if now < r.RestoredUntil {
				t.Errorf("a snapshot was taken while %s marks as restored", member(i))
			}
		}
	}
	for i := 1; i <= 3; i++ {
		eventually(t, "the fence's end", func() bool { return len(s.rulesAt(host(i))) == 0 })
	}
}

// TestLoadedMachineListens: between LOAD and OPEN a member hears its own timeline
// only, and nobody when that cannot be told from an earlier restore's.
func TestLoadedMachineListens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := s.mustTake()
	began := node.BootClock{}.Now()
	eventually(t, "time in which the coordinator hears of no restore", func() bool {
		return node.BootClock{}.Now().Sub(began) > 2*s.quarantine+2*time.Second
	})
	for _, again := range []bool{false, true} {
		release := s.cloud.holdAt("load n3") // the others have been loaded by then, or soon
		op, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id})
		if err != nil {
			t.Fatal(err)
		}
		<-s.cloud.heldAt("load n3")
		for i := 1; i <= 2; i++ {
			f, tap := s.fences[host(i)], "tap-"+string(member(i))
			eventually(t, "a fence", func() bool { return len(s.rulesAt(host(i))) == 1 })
			for p, want := range map[fencetest.Packet]bool{fencetest.OldTimeline: false, fencetest.Restored: !again, fencetest.Stranger: !again} {
				if got := f.In(tap, p); got != want {
					t.Errorf("again: %v: packet %d reaches %s, which is loaded only: %v", again, p, tap, got)
				}
			}
		}
		release()
		if op, _ := s.follow(op, nil); op.Error != nil {
			t.Fatal(op.Error)
		}
	}
}

// TestNoFenceNoRestore: what cannot be fenced is not let run, and nothing is left.
func TestNoFenceNoRestore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := s.mustTake()
	s.fences["h2"].Fail = errBroken
	if op := s.restore(id, nil); op.Error == nil || op.Error.Code != snapline.CodeFailed {
		t.Fatalf("error %+v", op.Error)
	}
	for i := 1; i <= 3; i++ {
		if s.cloud.find(host(i), member(i)) != nil {
			t.Errorf("%s is left running", member(i))
		}
		if n := len(s.rulesAt(host(i))); n > 0 {
			t.Errorf("%d fences are left on %s", n, host(i))
		}
	}
	s.fences["h2"].Fail = nil
	if op := s.restore(id, nil); op.Error != nil {
		t.Fatal(op.Error)
	}
}

// TestRepeatedRestoreWaits: the first restore's packets carry the codepoint that
// the second one's quarantine lets pass.
func TestRepeatedRestoreWaits(t *testing.T) {
	t.Parallel()
	for _, forgetful := range []bool{false, true} {
		s := newSite(t)
		s.stopC()
		s.quarantine = time.Second
		s.startCoordinator()
		s.waitOnline(3)
		id := s.mustTake()
		if op := s.restore(id, nil); op.Error != nil {
			t.Fatal(op.Error)
		}
		if forgetful { // a new coordinator knows nothing of the first restore; the agents do
			s.stopC()
			s.startCoordinator()
			s.waitOnline(3)
		}
		op, steps := s.follow(s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id}))
		if op.Error != nil {
			t.Fatal(op.Error)
		}
		var loading, opening time.Time
		for _, p := range steps {
			switch p.Phase {
			case "load":
				loading = p.At
			case "open":
				opening = p.At
			}
		}
		if d := opening.Sub(loading); d < s.quarantine {
			t.Errorf("coordinator forgot: %v: opened %v after the last member was stopped", forgetful, d)
		}
	}
}

// TestQuarantineOutlivesAgent: the next life finds it and ends it in time.
func TestQuarantineOutlivesAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.stopC()
	s.quarantine = 3 * time.Second
	s.startCoordinator()
	s.waitOnline(3)
	id := s.mustTake()
	if op := s.restore(id, nil); op.Error != nil {
		t.Fatal(op.Error)
	}
	s.stopA["h1"]()
	if s.fences["h1"].In("tap-n1", fencetest.OldTimeline) {
		t.Error("the quarantine went with the agent")
	}
	s.startAgent("h1")
	if s.fences["h1"].In("tap-n1", fencetest.OldTimeline) {
		t.Error("the agent's next life has ended the quarantine early")
	}
	eventually(t, "the end of the quarantine", func() bool { return len(s.rulesAt("h1")) == 0 })
	if vm := s.cloud.find("h1", "n1"); vm == nil || vm.now() != "running, state of n1" {
		t.Error("the member did not survive that")
	}
}
