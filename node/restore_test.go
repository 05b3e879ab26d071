package node_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

func (s *site) restore(id snapline.SnapshotID, place map[snapline.MemberName]snapline.HostName) snapline.Operation {
	s.t.Helper()
	op, _ := s.follow(s.c.Restore(s.t.Context(), snapline.RestoreRequest{Snapshot: id, Place: place}))
	return op
}

func TestRestoreOnOtherHosts(t *testing.T) {
	s := newSite(t)
	id := s.mustTake()
	for i := 1; i <= 3; i++ {
		s.cloud.boot(host(i), member(i), "a later state") // time goes on
	}
	place := map[snapline.MemberName]snapline.HostName{"n1": "h2", "n2": "h3", "n3": "h1"}
	op := s.restore(id, place)
	if op.Error != nil {
		t.Fatal(op.Error)
	}
	for m, h := range place {
		vm := s.cloud.find(h, m)
		if vm == nil || vm.now() != "running, state of "+string(m) {
			t.Errorf("%s on %s is not what it was", m, h)
		}
	}
	for i := 1; i <= 3; i++ {
		if s.cloud.find(host(i), member(i)) != nil {
			t.Errorf("%s is still on %s", member(i), host(i))
		}
	}
	// The group is where the restore has put it: the next round finds it.
	s.mustTake()
}

func TestRestoreRefusesBeforeItKills(t *testing.T) {
	cases := map[string]func(*site, snapline.SnapshotID) map[snapline.MemberName]snapline.HostName{
		"no such host": func(*site, snapline.SnapshotID) map[snapline.MemberName]snapline.HostName {
			return map[snapline.MemberName]snapline.HostName{"n1": "h9"}
		},
		"cannot run there": func(s *site, _ snapline.SnapshotID) map[snapline.MemberName]snapline.HostName {
			s.cloud.failAt("plan n2", errBroken)
			return nil
		},
		"damaged": func(s *site, id snapline.SnapshotID) map[snapline.MemberName]snapline.HostName {
			s.damage(id, "n3")
			return nil
		},
	}
	for name, arrange := range cases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			id := s.mustTake()
			want := snapline.CodeRefused
			if name == "damaged" {
				want = snapline.CodeDamaged
			}
			op := s.restore(id, arrange(s, id))
			if op.Error == nil || op.Error.Code != want {
				t.Fatalf("error %+v", op.Error)
			}
			if e := s.awaitEvent(snapline.EventRestoreFailed, 0); e.Code != want {
				t.Errorf("event %+v", e)
			}
			for i := 1; i <= 3; i++ {
				if vm := s.cloud.find(host(i), member(i)); vm == nil || vm.now() != "running, state of "+string(member(i)) {
					t.Errorf("%s was touched", member(i))
				}
			}
		})
	}
}

func TestFailedRestoreLeavesNothingHalfAndCanBeRepeated(t *testing.T) {
	for _, step := range []string{"load n2", "resume n3"} {
		t.Run(step, func(t *testing.T) {
			s := newSite(t)
			id := s.mustTake()
			s.cloud.failAt(step, errBroken)
			op := s.restore(id, nil)
			if op.Error == nil || op.Error.Code != snapline.CodeFailed {
				t.Fatalf("error %+v", op.Error)
			}
			for i := 1; i <= 3; i++ {
				if s.cloud.find(host(i), member(i)) != nil {
					t.Errorf("%s is left running", member(i))
				}
			}
			s.cloud.failAt(step, nil)
			if op := s.restore(id, nil); op.Error != nil {
				t.Fatal(op.Error)
			}
		})
	}
}

func TestRestoreInput(t *testing.T) {
	s := newSite(t)
	id := s.mustTake()
	for name, c := range map[string]struct {
		r    snapline.RestoreRequest
		want snapline.Code
	}{
		"unknown snapshot": {snapline.RestoreRequest{Snapshot: "g-99"}, snapline.CodeNotFound},
		"not an id":        {snapline.RestoreRequest{Snapshot: "../g"}, snapline.CodeInvalid},
		"unknown member":   {snapline.RestoreRequest{Snapshot: id, Place: map[snapline.MemberName]snapline.HostName{"n7": "h1"}}, snapline.CodeInvalid},
	} {
		if _, err := s.c.Restore(t.Context(), c.r); code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A restore leaves what it has loaded when its coordinator dies, or takes the host
// for lost. The next one sees to it before it loads anything itself: giving the
// first one's machine up later would take its disks and fences.
func TestLeftoverOfRestoreIsEndedByTheNext(t *testing.T) {
	s := newSite(t)
	id := s.mustTake()
	s.cloud.find("h3", "n3").end()
	release := s.cloud.holdAt("load n1")
	if _, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 is loaded", func() bool { return s.cloud.find("h3", "n3") != nil })
	leftover := s.cloud.find("h3", "n3")
	s.stopC()
	again := s.cloud.holdAt("load n3")
	release()
	eventually(t, "n1 is loaded", func() bool { return s.cloud.find("h1", "n1") != nil })
	s.startCoordinator()
	s.waitOnline(3)
	begun, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.cloud.heldAt("load n3"):
	case <-time.After(10 * time.Second):
		t.Fatal("it does not come to load n3")
	}
	if !leftover.killed.Load() {
		t.Error("n3 is being loaded again, and the one before was not given up")
	}
	again()
	if op := s.ended(begun); op.Error != nil {
		t.Fatal(op.Error)
	}
}

// cutBus is an agent's whose cable can be pulled.
type cutBus struct {
	snapline.Bus
	cut *atomic.Bool
}

func (b cutBus) Ask(ctx context.Context, to snapline.Address, q []byte) ([]byte, error) {
	if b.cut.Load() {
		return nil, snapline.ErrNoAnswer
	}
	return b.Bus.Ask(ctx, to, q)
}

func (b cutBus) Receive(at snapline.Address, handle func(snapline.Address, []byte)) (func(), error) {
	return b.Bus.Receive(at, func(from snapline.Address, m []byte) {
		if !b.cut.Load() {
			handle(from, m)
		}
	})
}

// A host that is cut off between LOAD and the end of a restore cannot be asked to
// undo it. When it is back it gives up what it has loaded.
func TestLeftoverOfRestoreIsEndedWhenTheHostIsBack(t *testing.T) {
	t.Parallel() // it waits for a lease
	cut := new(atomic.Bool)
	s := newBareSite(t, func(s *site) {
		s.lease = snapline.MinLease
		s.wrap = func(h snapline.HostName, b snapline.Bus) snapline.Bus {
			if h == "h3" {
				return cutBus{b, cut}
			}
			return b
		}
	})
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	id := s.mustTake()
	s.cloud.find("h3", "n3").end()
	release := s.cloud.holdAt("load n1")
	defer release()
	begun, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 is loaded", func() bool { return s.cloud.find("h3", "n3") != nil })
	leftover := s.cloud.find("h3", "n3")
	time.Sleep(1500 * time.Millisecond) // some hellos
	if leftover.killed.Load() {
		t.Fatal("it was given up while the restore is under way")
	}
	cut.Store(true)
	s.awaitEvent(snapline.EventHostLost, 0)
	release()
	if op := s.ended(begun); op.Error == nil {
		t.Fatal("it was restored without h3")
	}
	if leftover.killed.Load() {
		t.Error("h3 has heard, and was cut off")
	}
	cut.Store(false)
	eventually(t, "the leftover is given up", leftover.killed.Load)
}
