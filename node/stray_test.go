package node_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
)

// weak is an agent's link to the coordinator. mute: what the agent says is lost.
// frozen: the agent does nothing, and what comes for it waits.
type weak struct {
	snapline.Bus

	mu     sync.Mutex
	mute   bool
	frozen chan struct{} // closed when it has thawed and its first hello was answered
	thawed bool
	once   sync.Once
}

func (w *weak) set(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

func (w *weak) cut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mute || w.frozen != nil && !w.thawed
}

func (w *weak) Send(ctx context.Context, to snapline.Address, m []byte) error {
	if w.cut() {
		return nil
	}
	return w.Bus.Send(ctx, to, m)
}

func (w *weak) Ask(ctx context.Context, to snapline.Address, q []byte) ([]byte, error) {
	if w.cut() {
		return nil, snapline.ErrNoAnswer
	}
	a, err := w.Bus.Ask(ctx, to, q)
	if err == nil {
		w.set(func() {
			if w.frozen != nil {
				w.once.Do(func() { time.AfterFunc(10*time.Millisecond, func() { close(w.frozen) }) })
			}
		})
	}
	return a, err
}

func (w *weak) Receive(at snapline.Address, handle func(snapline.Address, []byte)) (func(), error) {
	return w.Bus.Receive(at, func(from snapline.Address, m []byte) {
		w.mu.Lock()
		frozen := w.frozen
		w.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		handle(from, m)
	})
}

// withH4 is a site in virtual time with a fourth host, whose link is weak.
func withH4(t *testing.T) (s *site, link *weak, end func()) {
	s = newQuietSite(t)
	s.clock, s.lease = bubbleClock{}, snapline.MinLease
	link = &weak{}
	s.wrap = func(h snapline.HostName, b snapline.Bus) snapline.Bus {
		if h != "h4" {
			return b
		}
		link.Bus = b
		return link
	}
	s.startCoordinator()
	for i := 1; i <= 4; i++ {
		s.startAgent(host(i))
	}
	for i := 1; i <= 3; i++ {
		s.cloud.boot(host(i), member(i), "state of "+string(member(i)))
	}
	s.waitOnline(4)
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // virtual: repositories are open
	return s, link, func() {
		for _, stop := range s.stopA {
			stop()
		}
		s.stopC()
	}
}

// TestHostLostAsItOpens: a restore was to bring n2 to h4, which let it run, and was
// not heard of again. Nobody may restore n2 elsewhere before h4 can be asked, or a
// person has said that it is off; whoever coordinates.
func TestHostLostAsItOpens(t *testing.T) {
	for _, next := range []string{"same coordinator", "next coordinator", "coordinator stopped meanwhile"} {
		t.Run(next, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, link, end := withH4(t)
				defer end()
				id := s.mustTake()
				release := s.cloud.holdAt("resume n2")
				op, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id, Place: map[snapline.MemberName]snapline.HostName{"n2": "h4"}})
				if err != nil {
					t.Fatal(err)
				}
				<-s.cloud.heldAt("resume n2")
				link.set(func() { link.mute = true })
				release()
				if next == "coordinator stopped meanwhile" {
					s.stopC()
					s.startCoordinator()
					time.Sleep(30 * time.Second)
				} else if op, _ = s.follow(op, nil); op.Error == nil {
					t.Fatal("the restore succeeded without h4")
				}
				if next == "next coordinator" {
					s.stopC()
					s.startCoordinator()
					time.Sleep(30 * time.Second)
				}
				op = s.restore(id, nil)
				if s.twice() {
					t.Error("n2 talks from two hosts")
				}
				if op.Error == nil || op.Error.Code != snapline.CodeRefused || !strings.Contains(op.Error.Error(), "h4") {
					t.Fatalf("restore: %+v", op.Error)
				}
				if _, err := s.c.Recover(t.Context(), snapline.RecoverRequest{Group: "g"}); err == nil {
					t.Error("recovered without a person's word")
				}
				s.cloud.find("h4", "n2").Kill(t.Context())
				if op, _ = s.follow(s.c.Recover(t.Context(), snapline.RecoverRequest{Group: "g", Dead: []snapline.HostName{"h4"}})); op.Error != nil {
					t.Fatal(op.Error)
				}
				if op := s.restore(id, nil); op.Error != nil {
					t.Error(op.Error) // h4 is of no concern any more
				}
			})
		})
	}
}

// TestStaleOpen: an agent is frozen with the order to let its members run in its
// socket, and wakes up when they have been restored elsewhere. Its first hello was
// answered, so its host has a lease again; its members have not.
func TestStaleOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, link, end := withH4(t)
		defer end()
		s.protect(every(time.Hour))
		s.calm()
		release := s.cloud.holdAt("load n1")
		op, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: "g-1", Place: map[snapline.MemberName]snapline.HostName{"n2": "h4"}})
		if err != nil {
			t.Fatal(err)
		}
		<-s.cloud.heldAt("load n1")
		eventually(t, "n2 loaded on h4", func() bool { return s.cloud.find("h4", "n2") != nil })
		time.Sleep(100 * time.Millisecond)
		link.set(func() { link.frozen = make(chan struct{}) })
		release()
		if op, _ = s.follow(op, nil); op.Error == nil {
			t.Fatal(errors.New("the restore succeeded without h4"))
		}
		eventuallyWithin(t, time.Minute, "n2 elsewhere", func() bool { return s.talks("h2", "n2") })
		link.set(func() { link.thawed = true })
		for range 5000 {
			time.Sleep(time.Millisecond)
			if s.twice() {
				t.Fatal("n2 talks from two hosts")
			}
		}
	})
}
