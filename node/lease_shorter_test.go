package node_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
)

// deafBus is the bus of an agent that is heard and hears nothing, when deaf.
type deafBus struct {
	snapline.Bus
	deaf *atomic.Bool
}

func (b deafBus) Ask(ctx context.Context, to snapline.Address, q []byte) ([]byte, error) {
	a, err := b.Bus.Ask(ctx, to, q)
	if b.deaf.Load() {
		return nil, snapline.ErrNoAnswer
	}
	return a, err
}

// TestShorterLease: a coordinator gives shorter leases than its predecessor did. Hosts
// that have not heard of it go by the former one's, and so must it.
func TestShorterLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietSite(t)
		s.clock, s.lease = bubbleClock{}, 20*time.Second
		deaf := new(atomic.Bool)
		s.wrap = func(h snapline.HostName, b snapline.Bus) snapline.Bus {
			if h == "h2" {
				return deafBus{b, deaf}
			}
			return b
		}
		s.startCoordinator()
		for i := 1; i <= 3; i++ {
			s.startAgent(host(i))
			s.cloud.boot(host(i), member(i), "state of "+string(member(i)))
		}
		defer func() {
			for _, stop := range s.stopA {
				stop()
			}
			s.stopC()
		}()
		s.waitOnline(3)
		if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // virtual: repositories are open
		s.protect(every(time.Hour))
		s.calm()
		deaf.Store(true)
		for range 2 { // the second one has the shorter lease from its predecessor, too
			s.stopC()
			s.lease = snapline.MinLease
			s.startCoordinator()
			s.waitOnline(3)
		}
		s.stopA["h2"]()
		eventuallyWithin(t, time.Minute, "n2 elsewhere", func() bool {
			if s.twice() {
				t.Fatal("n2 talks from two hosts")
			}
			for _, m := range s.members() {
				if m.Name == "n2" && m.Host != "h2" {
					return true
				}
			}
			return false
		})
		for range 2 { // nothing of it is remembered for ever
			time.Sleep(30 * time.Second)
			s.stopC()
			s.startCoordinator()
			s.waitOnline(2)
		}
		time.Sleep(10 * time.Second) // its first look at the leases
		stopped := time.Now()
		s.stopA["h3"]()
		s.awaitEvent(snapline.EventHostLost, s.lastEvent())
		eventually(t, "the recovery's beginning", func() bool { return s.protection().State != snapline.ProtectionOK })
		if took := time.Since(stopped); took > 5*time.Second {
			t.Errorf("h3 counted as lost after %v", took)
		}
	})
}

func (s *site) lastEvent() (id uint64) {
	s.t.Helper()
	all, err := s.c.Events(s.t.Context(), "g", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range all {
		id = max(id, e.ID)
	}
	return id
}
