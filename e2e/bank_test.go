package e2e

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
)

// A bank that is snapshotted while money moves, killed, and restored on other
// hosts has as much money as before, and all of its connections.
func TestBank(t *testing.T) {
	s := newSite(t, lab.Options{Workload: lab.Bank, MemMB: 192, DiskMB: 64})
	s.apply(t)
	clients := s.BankClients()
	calm := 10 * time.Second

	busy := func(t *testing.T) { awaitMoney(t, calm, clients, "tcp", 10) }
	busy(t)
	audit(t, clients)
	resetGaps(t, clients)

	first := s.take(t)
	busy(t) // it goes on, and everything since the cut will be lost
	r := audit(t, clients)
	t.Logf("longest gap with a take: %.0f ms on TCP, %.0f ms on UDP", r.LongestTCPGapMS, r.LongestUDPGapMS)

	revive := func(t *testing.T, id snapline.SnapshotID, place string) {
		t.Helper()
		s.restore(t, id, place)
		awaitMoney(t, drainLimit, clients, "tcp", 3)
		audit(t, clients)
		s.tidy(t)
	}
	t.Run("first", func(t *testing.T) {
		s.killVMs(t)
		revive(t, first.ID, "n1=h2,n2=h3,n3=h1")
	})

	// A snapshot of what was itself restored.
	t.Run("second", func(t *testing.T) {
		resetGaps(t, clients)
		second := s.take(t, "--note", "of a restored group")
		busy(t)
		s.killVMs(t)
		revive(t, second.ID, "n1=h3,n2=h1,n3=h2")
	})

	// And the older one again, over the running group.
	t.Run("older", func(t *testing.T) {
		s.keepsPastOut(t, func() { s.restore(t, first.ID, "") })
		awaitMoney(t, drainLimit, clients, "tcp", 3)
		audit(t, clients)
		s.tidy(t)
	})

	t.Run("barrier", func(t *testing.T) {
		resetGaps(t, clients)
		third := s.take(t, "--cut", "barrier")
		busy(t)
		r := audit(t, clients)
		t.Logf("longest gap with a take by barrier: %.0f ms on TCP, %.0f ms on UDP", r.LongestTCPGapMS, r.LongestUDPGapMS)
		s.killVMs(t)
		revive(t, third.ID, "n1=h2,n2=h3,n3=h1")
	})
}
