package node_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

func TestTakeStoresEveryMember(t *testing.T) {
	s := newSite(t)
	op, steps := s.follow(s.c.Take(t.Context(), snapline.TakeRequest{Group: "g", Note: "before the upgrade"}))
	if op.State != "done" || op.Take == nil || op.Take.ID != "g-1" || len(op.Take.Members) != 3 {
		t.Fatalf("operation %+v, error %v", op, op.Error)
	}
	if op.Take.Cut.Withheld != 6 || op.Take.Cut.Marked != 9 || op.Take.Cut.DurationMS <= 0 {
		t.Errorf("cut report %+v", op.Take.Cut)
	}
	var phases []string
	for i, p := range steps {
		if p.ID != uint64(i+1) {
			t.Errorf("step %d has id %d", i, p.ID)
		}
		if p.Phase != "" {
			phases = append(phases, p.Phase)
		}
	}
	if want := []string{"prepare", "probe", "arm", "cut", "disarm", "store", "commit"}; !slices.Equal(phases, want) {
		t.Errorf("phases %v, want %v", phases, want)
	}
	snap, err := s.c.Snapshot(t.Context(), "g-1")
	if err != nil || snap.Note != "before the upgrade" || len(snap.Members) != 3 {
		t.Fatalf("snapshot %+v, %v", snap, err)
	}
	if s.mustTake() != "g-2" {
		t.Error("the second snapshot is not g-2")
	}
}

func TestBarrierNeedsNoGate(t *testing.T) {
	s := newSite(t)
	for _, g := range s.gates {
		g.fail = errBroken
	}
	op, steps := s.follow(s.c.Take(t.Context(), snapline.TakeRequest{Group: "g", Strategy: snapline.Barrier}))
	if op.Error != nil {
		t.Fatal(op.Error)
	}
	for _, p := range steps {
		if p.Phase == "probe" {
			t.Error("a barrier cut probed paths")
		}
	}
}

func TestRefusalNamesEveryReason(t *testing.T) {
	s := newSite(t)
	s.cloud.failAt("problems n1", errBroken)
	s.gates["h2"].fail = errBroken
	s.cloud.find("h3", "n3").Kill(t.Context())
	op := s.take()
	if op.Error == nil || op.Error.Code != snapline.CodeRefused || len(op.Error.Reasons) != 3 {
		t.Fatalf("error %+v", op.Error)
	}
	for i, r := range op.Error.Reasons {
		if r.Member != member(i+1) || r.Host != host(i+1) || r.Text == "" {
			t.Errorf("reason %d: %+v", i, r)
		}
	}
}

func TestBleachedPathIsRefused(t *testing.T) {
	s := newSite(t)
	zero := snapline.Codepoint(0)
	s.gates["h2"].bleach = &zero
	op := s.take()
	if op.Error == nil || op.Error.Code != snapline.CodeRefused || !strings.Contains(op.Error.Error(), "path n2 → n1") {
		t.Fatalf("error %v", op.Error)
	}
}

func TestOfflineAgentIsRefused(t *testing.T) {
	s := newSite(t)
	g := s.group()
	g.Members[1].Host = "h9"
	if _, err := s.c.Apply(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	op := s.take()
	if op.Error == nil || op.Error.Code != snapline.CodeRefused || op.Error.Reasons[0].Member != "n2" {
		t.Fatalf("error %+v", op.Error)
	}
}

func TestOneOperationAtATime(t *testing.T) {
	s := newSite(t)
	release := s.cloud.holdAt("finish n2")
	first, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if code(err) != snapline.CodeBusy {
		t.Errorf("second take: %v", err)
	}
	if _, err := s.c.Apply(t.Context(), s.group()); code(err) != snapline.CodeBusy {
		t.Errorf("apply during a take: %v", err)
	}
	release()
	if op, _ := s.follow(first, nil); op.Error != nil {
		t.Error(op.Error)
	}
}

func TestFailuresAbortAndTheNextTakeWorks(t *testing.T) {
	for _, step := range []string{"cut n2", "finish n3"} {
		t.Run(step, func(t *testing.T) {
			s := newSite(t)
			s.cloud.failAt(step, errBroken)
			op := s.take()
			if op.Error == nil || op.Error.Code != snapline.CodeFailed || !strings.Contains(op.Error.Error(), errBroken.Error()) {
				t.Fatalf("error %+v", op.Error)
			}
			s.assertClean()
			s.cloud.failAt(step, nil)
			s.mustTake()
			if all, err := s.c.Snapshots(t.Context(), "g"); err != nil || len(all) != 1 {
				t.Errorf("snapshots %v, %v", all, err)
			}
		})
	}
}

// assertClean waits until every VM runs, no gate is up, and nothing is stored.
func (s *site) assertClean() {
	s.t.Helper()
	for i := 1; i <= 3; i++ {
		eventually(s.t, "no gate on "+string(host(i)), func() bool { return s.gates[host(i)].count() == 0 })
		if st, _ := s.cloud.find(host(i), member(i)).Status(s.t.Context()); st != "running" {
			s.t.Errorf("%s is %s", member(i), st)
		}
	}
	if all, err := s.c.Snapshots(s.t.Context(), ""); err != nil || len(all) != 0 {
		s.t.Errorf("snapshots %v, %v", all, err)
	}
}

func TestCancel(t *testing.T) {
	s := newSite(t)
	release := s.cloud.holdAt("finish n1")
	defer release()
	op, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.c.Cancel(t.Context(), op.ID); err != nil {
		t.Fatal(err)
	}
	if op, _ = s.follow(op, nil); op.Error == nil || op.Error.Code != snapline.CodeCancelled {
		t.Fatalf("operation %+v", op)
	}
	s.assertClean()
}

func TestAgentRestartDuringRound(t *testing.T) {
	s := newSite(t)
	release := s.cloud.holdAt("cut n2")
	op, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 has cut", func() bool { return s.gates["h1"].count() == 1 })
	s.stopA["h2"]()
	release()
	s.startAgent("h2")
	if op, _ = s.follow(op, nil); op.Error == nil {
		t.Fatalf("committed without n2: %+v", op.Take)
	}
	s.assertClean()
	s.mustTake()
}

func TestCoordinatorRestartDuringRound(t *testing.T) {
	s := newSite(t)
	release := s.cloud.holdAt("finish n2")
	if _, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 stored", func() bool { return s.gates["h1"].count() == 0 && s.repoHolds("g-1") })
	s.stopC()
	s.startCoordinator()
	release()
	s.waitOnline(3)
	s.assertClean()
	if id := s.mustTake(); id != "g-2" {
		t.Errorf("took %s", id)
	}
	eventually(t, "g-1 discarded", func() bool { return !s.repoHolds("g-1") })
}

// TestStoringIntoTheNextRound has a coordinator give up its predecessor's round
// while the agents are about to write for it, and do so at the last moment: what
// comes after the data has been removed is removed as well.
func TestStoringIntoTheNextRound(t *testing.T) {
	s := newSite(t)
	s.repo.slowPut.Store(true)
	if _, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are being stored", func() bool { return s.repo.putting.Load() == 3 })
	s.repo.slowPut.Store(false)
	s.stopC()
	s.startCoordinator()
	s.waitOnline(3)
	if id := s.mustTake(); id != "g-2" {
		t.Errorf("took %s", id)
	}
	eventually(t, "g-1 discarded", func() bool { return !s.repoHolds("g-1") })
}
