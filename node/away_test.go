package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repotest"
)

var errAway = errors.New("dial tcp 192.0.2.1:443: no route to host")

// awaySite is a site in virtual time whose repository can be unreachable. It must
// be made inside of a bubble; end ends it.
func awaySite(t *testing.T, clock wallClock) (s *site, away *atomic.Bool, end func()) {
	away = new(atomic.Bool)
	s = newQuietSite(t)
	s.clock = clock
	s.repo.Repository = repotest.Failing{Repository: s.repo.Repository, Fail: func(repotest.Op, snapline.SnapshotID) error {
		if away.Load() {
			return errAway
		}
		return nil
	}}
	s.startCoordinator()
	for i := 1; i <= 3; i++ {
		s.startAgent(host(i))
		s.cloud.boot(host(i), member(i), "state of "+string(member(i)))
	}
	s.waitOnline(3)
	time.Sleep(2 * time.Second) // virtual: repositories are open
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	return s, away, func() {
		for _, stop := range s.stopA {
			stop()
		}
		s.stopC()
		s.noGates()
	}
}

// TestRepositoryAwayForAnHour: takes and restores fail with the cause and touch
// nothing, nothing leaks, a coordinator restarts, and all works when it is back.
func TestRepositoryAwayForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, away, end := awaySite(t, wallClock{})
		defer end()
		id := s.mustTake()
		away.Store(true)
		for minute := 0; minute < 60; minute += 10 {
			op := s.take()
			if op.Error == nil || !contains(op.Error, errAway.Error()) {
				t.Fatalf("take at minute %d: %+v", minute, op.Error)
			}
			if _, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id}); !errors.Is(err, errAway) {
				t.Errorf("restore at minute %d: %v", minute, err)
			}
			if minute == 30 { // it comes back without its repository, and says so
				s.stopC()
				s.startCoordinator()
				s.waitOnline(3)
			}
			for i := 1; i <= 3; i++ {
				if vm := s.cloud.find(host(i), member(i)); vm == nil || vm.now() != "running, state of "+string(member(i)) {
					t.Errorf("minute %d: %s was touched", minute, member(i))
				}
			}
			time.Sleep(10 * time.Minute)
		}
		if n := s.gatesUp(); n > 0 {
			t.Errorf("%d gates are up", n)
		}
		if held := s.holders(); len(held) > 0 {
			t.Errorf("leases are left: %v", held)
		}
		away.Store(false)
		s.mustTake()
		if op := s.restore(id, nil); op.Error != nil {
			t.Fatal(op.Error)
		}
	})
}

// TestRepositoryGoesAwayInARound: members let go of their VMs, and what was
// stored of the round is gone once the repository is back.
func TestRepositoryGoesAwayInARound(t *testing.T) {
	for _, at := range []string{"finish n2", "commit"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, away, end := awaySite(t, wallClock{})
				defer end()
				if at == "commit" {
					s.repo.Repository = failAt{s.repo.Repository, func() error { away.Store(true); return errAway }}
				}
				release := s.cloud.holdAt("finish n2")
				op, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
				if err != nil {
					t.Fatal(err)
				}
				<-s.cloud.heldAt("finish n2")
				if at != "commit" {
					away.Store(true)
				}
				release()
				if op = s.ended(op); op.Error == nil || !contains(op.Error, errAway.Error()) {
					t.Fatalf("take: %+v", op.Error)
				}
				time.Sleep(time.Hour)
				eventually(t, "no gates", func() bool { return s.gatesUp() == 0 })
				away.Store(false)
				if f, ok := s.repo.Repository.(failAt); ok {
					s.repo.Repository = f.Repository
				}
				s.stopC()
				s.startCoordinator() // ends what could not be ended
				s.waitOnline(3)
				if _, err := s.c.Snapshot(t.Context(), op.Snapshot); code(err) != snapline.CodeNotFound {
					t.Errorf("snapshot: %v", err)
				}
				if s.repoHolds(op.Snapshot) {
					t.Error("the round's data is still there")
				}
				s.mustTake()
			})
		})
	}
}

// failAt fails each Commit.
type failAt struct {
	snapline.Repository
	fail func() error
}

func (f failAt) Commit(context.Context, snapline.Snapshot) error { return f.fail() }

// contains reports whether an error, or one of its reasons, says text.
func contains(e *snapline.Error, text string) bool {
	return e != nil && strings.Contains(e.Error(), text)
}

// wallClock is bubbleClock with a wall clock that somebody sets.
type wallClock struct {
	bubbleClock
	off *atomic.Int64 // nanoseconds; nil: none
}

func (c wallClock) Wall() time.Time {
	if c.off == nil {
		return c.bubbleClock.Wall()
	}
	return c.bubbleClock.Wall().Add(time.Duration(c.off.Load()))
}

// TestWallClockJumps sets the time of day back and forth by years in the middle of
// rounds and restores: nothing depends on it but what people read.
func TestWallClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{10 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour} {
		for _, step := range []string{"adopt n2", "cut n2", "finish n2"} {
			t.Run(fmt.Sprintf("%v at %s", jump, step), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					off := new(atomic.Int64)
					s, _, end := awaySite(t, wallClock{off: off})
					defer end()
					first := s.mustTake()
					release := s.cloud.holdAt(step)
					op, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
					if err != nil {
						t.Fatal(err)
					}
					<-s.cloud.heldAt(step)
					off.Store(int64(jump))
					time.Sleep(time.Second)
					release()
					if op = s.ended(op); op.State != "done" {
						t.Fatalf("take: %+v", op.Error)
					}
					second := op.Snapshot
					if st, err := s.c.Status(t.Context(), "g"); err != nil || st.Last != second {
						t.Errorf("the last snapshot is %s, %v; want %s", st.Last, err, second)
					}
					s.waitOnline(3)
					release = s.cloud.holdAt("load n2")
					op, err = s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: first})
					if err != nil {
						t.Fatal(err)
					}
					<-s.cloud.heldAt("load n2")
					off.Store(-int64(jump))
					time.Sleep(time.Second)
					release()
					if op = s.ended(op); op.State != "done" {
						t.Fatalf("restore: %+v", op.Error)
					}
					op, err = s.c.Prune(t.Context(), snapline.PruneRequest{Group: "g", Keep: snapline.KeepPolicy{Last: 1}})
					if err != nil {
						t.Fatal(err)
					}
					if op = s.ended(op); op.State != "done" || len(op.Prune.Deleted) != 1 || op.Prune.Deleted[0] != first {
						t.Errorf("prune: %+v, %v; the second is the later one", op.Prune, op.Error)
					}
				})
			})
		}
	}
}
