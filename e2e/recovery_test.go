package e2e

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
)

// recoveryLimit is from a host's death to all members running: the lease, and
// ten seconds for the rest.
const recoveryLimit = snapline.DefaultLease + 10*time.Second

// A host of a protected bank dies. The group comes back by itself on the others
// with its books right, also when the coordinator dies meanwhile; the host returns,
// and is given back to its owner.
func TestRecovery(t *testing.T) {
	s := newSite(t, lab.Options{Workload: lab.Bank, MemMB: 192, DiskMB: 64})
	s.apply(t)
	bank := s.BankClients()
	// No snapshot comes between the one that is taken by hand and the host's death.
	s.mustRun(t, nil, "protect", string(s.group), "--every", "5m", "--keep-last", "2")
	s.awaitProtected(t)
	awaitMoney(t, drainLimit, bank, "tcp", 3)

	t.Run("host dies", func(t *testing.T) {
		s.awaitIdle(t)
		early, late := s.outsider(t, "10.77.0.251"), s.outsider(t, "10.77.0.252")
		early(t, "n2")
		pass(aReport)
		s.mustRun(t, nil, "take", string(s.group))
		late(t, "n2")
		pass(aReport)
		before := s.lastEvent(t)
		died := time.Now()
		if err := s.KillHost(t.Context(), "h2"); err != nil {
			t.Fatal(err)
		}
		s.awaitEvent(t, 60*time.Second, snapline.EventRecovered, before)
		took := time.Since(died)
		t.Logf("all members run %v after the host's death", took.Round(time.Millisecond))
		if took > recoveryLimit {
			t.Logf("that is longer than the %v to reach; make bench measures it on a quiet machine", recoveryLimit)
		}
		s.everybodyRuns(t, "h2")
		awaitMoney(t, drainLimit, bank, "tcp", 3)
		audit(t, bank)
		lost := s.awaitEvent(t, 10*time.Second, snapline.EventRestored, before).Lost
		t.Logf("who may have seen what was lost: %+v", lost)
		saw := func(address string) bool {
			return slices.ContainsFunc(lost.Peers, func(p snapline.LostPeer) bool { return p.Member == "n2" && p.Address.String() == address })
		}
		if saw("10.77.0.251") || !saw("10.77.0.252") {
			t.Errorf("10.77.0.251 was sent nothing since the snapshot, 10.77.0.252 was; named are %+v", lost.Peers)
		}
		for _, p := range lost.Peers {
			if p.Address.String() == s.VMs()[0].Address || p.Address.IsMulticast() {
				t.Errorf("%s, sent to by %s, is no peer outside the group", p.Address, p.Member)
			}
		}
		if !slices.ContainsFunc(lost.Gaps, func(r snapline.Reason) bool { return r.Member == "n2" && r.Host == "h2" }) {
			t.Errorf("h2 died, and there is no word on what it could not tell: %v", lost.Gaps)
		}
	})
	if t.Failed() {
		return
	}
	t.Run("host returns", func(t *testing.T) {
		s.mustRun(t, nil, "protect", string(s.group), "--every", "15s", "--keep-last", "2")
		before := s.lastEvent(t)
		if err := s.StartAgent("h2"); err != nil {
			t.Fatal(err)
		}
		s.awaitEvent(t, 20*time.Second, snapline.EventHostReturned, before)
		s.awaitProtected(t)
		s.awaitEvent(t, 60*time.Second, snapline.EventTaken, before)
		s.everybodyRuns(t, "h2")
	})
	if t.Failed() {
		return
	}
	t.Run("coordinator dies in the recovery", func(t *testing.T) {
		s.awaitIdle(t)
		before := s.lastEvent(t)
		if err := s.KillHost(t.Context(), "h3"); err != nil {
			t.Fatal(err)
		}
		s.awaitRestore(t, "load")
		if err := s.KillDaemon(t.Context(), "coordinator"); err != nil {
			t.Fatal(err)
		}
		// The dead one's threads may hold the lock on its directory a moment longer.
		await(t, 20*time.Second, "the next coordinator", func(ctx context.Context) error {
			if !s.DaemonAlive("coordinator") {
				if err := s.StartCoordinator(ctx); err != nil {
					return err
				}
			}
			_, err := s.api.Hosts(ctx)
			return err
		})
		s.awaitEvent(t, 2*time.Minute, snapline.EventRecovered, before)
		s.everybodyRuns(t, "h3")
		awaitMoney(t, drainLimit, bank, "tcp", 3)
		audit(t, bank)
		if err := s.StartAgent("h3"); err != nil {
			t.Fatal(err)
		}
		s.awaitEvent(t, 20*time.Second, snapline.EventHostJoined, before) // the new coordinator has not seen it
		s.awaitProtected(t)
		s.everybodyRuns(t, "h3")
	})
	if t.Failed() {
		return
	}
	t.Run("drain", func(t *testing.T) {
		var drained snapline.DrainResult
		s.mustRun(t, &drained, "drain", "h1", "--deadline", "60s")
		if len(drained.Moved) != 1 || len(drained.Released) != 0 {
			t.Fatalf("drained %+v", drained)
		}
		t.Logf("h1 was given back in %.1f s", drained.DurationMS/1000)
		s.everybodyRuns(t, "h1")
		awaitMoney(t, drainLimit, bank, "tcp", 3)
		s.mustRun(t, nil, "undrain", "h1")
		audit(t, bank)
	})
	s.mustRun(t, nil, "unprotect", string(s.group))
	s.awaitIdle(t)
	s.tidy(t) // the fences have gone with the protection
}

// aReport is longer than it takes a host to tell of a packet, and than a snapshot's
// cut is taken for earlier than it was.
const aReport = 3 * time.Second

// pass lets time pass, where nobody says that something has been done.
func pass(d time.Duration) { <-time.After(d) }

// outsider gives the switch another address, of nobody in the group, and returns
// what has a member send packets there: a connection that it accepts.
func (s *site) outsider(t *testing.T, address string) func(*testing.T, string) {
	t.Helper()
	if out, err := exec.Command("ip", "-n", string(s.Switch()), "address", "add", address+"/24", "dev", "br0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return func(t *testing.T, member string) {
		t.Helper()
		vm, err := s.VM(member)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Switch().Do(func() error {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
			c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(vm.Address, bank.ControlPort))
			if err == nil {
				err = c.Close()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// awaitProtected waits until the protection has a snapshot and nothing to
// complain of.
func (s *site) awaitProtected(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "a protection without complaint", func(ctx context.Context) error {
		st, err := s.api.Status(ctx, s.group)
		if err == nil && (st.Protection == nil || st.Protection.State != snapline.ProtectionOK || st.Last == "") {
			err = fmt.Errorf("last snapshot %q, protection %+v", st.Last, st.Protection)
		}
		return err
	})
}

// awaitIdle waits for a moment without an operation on the group.
func (s *site) awaitIdle(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "no operation under way", func(ctx context.Context) error {
		st, err := s.api.Status(ctx, s.group)
		if err == nil && st.Operation != "" {
			err = fmt.Errorf("%s is", st.Operation)
		}
		return err
	})
}

// awaitRestore waits until a restore of the group comes to a phase.
func (s *site) awaitRestore(t *testing.T, phase string) {
	t.Helper()
	var op snapline.OperationID
	await(t, time.Minute, "a restore of the group", func(ctx context.Context) error {
		st, err := s.api.Status(ctx, s.group)
		if err == nil && !strings.HasPrefix(string(st.Operation), "restore-") {
			err = fmt.Errorf("%q is under way", st.Operation)
		}
		op = st.Operation
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	steps, err := s.api.Progress(ctx, op, 0)
	if err != nil {
		t.Fatal(err)
	}
	for p := range steps {
		if p.Phase == phase {
			return
		}
	}
	t.Fatalf("%s did not come to %s", op, phase)
}

func (s *site) lastEvent(t *testing.T) uint64 {
	t.Helper()
	all, err := s.api.Events(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].ID
}

// awaitEvent waits for an event of a kind after another one.
func (s *site) awaitEvent(t *testing.T, limit time.Duration, kind snapline.EventKind, after uint64) snapline.Event {
	t.Helper()
	var found snapline.Event
	var seen []string
	await(t, limit, "event "+string(kind), func(ctx context.Context) error {
		all, err := s.api.Events(ctx, "", after)
		if err != nil {
			return err
		}
		seen = nil
		for _, e := range all {
			seen = append(seen, e.Text)
		}
		i := slices.IndexFunc(all, func(e snapline.Event) bool { return e.Kind == kind })
		if i < 0 {
			return fmt.Errorf("there were %q", seen)
		}
		found = all[i]
		return nil
	})
	return found
}

// everybodyRuns checks that every member runs, none of them on one host.
func (s *site) everybodyRuns(t *testing.T, but snapline.HostName) {
	t.Helper()
	await(t, 10*time.Second, "every member runs", func(ctx context.Context) error {
		st, err := s.api.Status(ctx, s.group)
		if err != nil {
			return err
		}
		for _, m := range st.Members {
			at, err := s.VMHost(string(m.Name))
			if err != nil || m.VM != "running" || m.Host == but || at != string(m.Host) {
				return fmt.Errorf("%+v; its process is on %q, %v", m, at, err)
			}
		}
		return nil
	})
}
