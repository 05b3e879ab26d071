package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
)

// Limits that a crash must not exceed.
var (
	// gateLimit is Dg, when a gate's rules and a pause have ended by themselves,
	// with half a second for emulated guests to show it.
	gateLimit = snapline.DefaultDeadlines().Gate + 500*time.Millisecond
	// offTapLimit is when agents have taken their programs off all taps as well: what
	// these do has ended before, but a capture may be in the way.
	offTapLimit = gateLimit + 2*time.Second
	// hearLimit is when two transfers have gone over every flow after that: the
	// bank repeats one that got lost after 250 ms, on emulated processors which
	// all wake up at once.
	hearLimit = gateLimit + 4*time.Second
	// lostLimit is when a round whose agent has died has ended on all the other
	// hosts too: it takes up to 6 s to miss the agent, PROTOCOL.md's Crashes.
	lostLimit = 8 * time.Second
)

// faults is one group of bank members to which all kinds of bad luck happen.
type faults struct {
	*site
	bank []*bank.Client
	// good is a snapshot that was taken before anything went wrong.
	good  snapline.SnapshotID
	packs []string // its
}

// TestFaults lets agents, the coordinator, QEMU and the disk fail in the middle
// of rounds. The members move money meanwhile: whatever happens, they must go
// on, and their books must be right at the end.
func TestFaults(t *testing.T) {
	f := &faults{site: newSite(t, lab.Options{Workload: lab.Bank, MemMB: 192, DiskMB: 64})}
	f.bank = f.BankClients()
	f.apply(t)
	f.good = f.take(t).ID
	f.packs = f.listPacks(t)
	for _, sub := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"agent killed", func(t *testing.T) { f.agentKilled(t, snapline.Colour) }},
		{"coordinator killed", f.coordinatorKilled},
		{"agent frozen", f.agentFrozen},
		{"interrupted", f.interrupted},
		{"doctor", f.doctor},
		{"busy", f.busy},
		{"refused", f.refused},
		{"group file", f.groupFile},
		{"damaged", f.damaged},
		{"repository too small", f.repositoryTooSmall},
		{"repository filled up", f.repositoryFull},
		{"agent killed in a barrier", func(t *testing.T) { f.agentKilled(t, snapline.Barrier) }},
	} {
		ok := t.Run(sub.name, func(t *testing.T) {
			f.awaitAgents(t)
			before := f.pids(t)
			sub.run(t)
			f.untouched(t, before)
			f.tidy(t)
		})
		if !ok {
			return // one failure is the cause of the next
		}
	}
	audit(t, f.bank) // through all of that
	t.Run("qemu killed", f.qemuKilled)
	f.tidy(t)
	t.Run("host rebooted", f.hostRebooted)
	f.tidy(t)
}

// unharmed checks what every crash has in common: each member runs and hears
// again soon after Dg at the latest.
func (f *faults) unharmed(t *testing.T) {
	t.Helper()
	took := awaitMoney(t, hearLimit, f.bank, "udp", 2)
	t.Logf("every member sends and hears after %v", took.Round(time.Millisecond))
}

// recovers checks that the round's remains do not stand in the way of the next.
func (f *faults) recovers(t *testing.T) {
	t.Helper()
	f.take(t)
	if t.Failed() {
		t.FailNow()
	}
}

// strike starts a take and acts at a moment of it.
func (f *faults) strike(t *testing.T, cut snapline.Strategy, m moment, act func()) snapline.Operation {
	t.Helper()
	op := f.begin(t, cut)
	f.until(t, op, m)
	act()
	return op
}

// victim is the host of n2, the usual victim, and where its monitor is.
func (f *faults) victim(t *testing.T) (host, monitor string) {
	t.Helper()
	v, err := f.VM("n2")
	if err != nil {
		t.Fatal(err)
	}
	if host, err = f.VMHost("n2"); err != nil {
		t.Fatal(err)
	}
	return host, v.QMP
}

// others are the hosts beside one.
func (f *faults) others(host string) []string {
	var all []string
	for _, h := range f.hostNames() {
		if h != host {
			all = append(all, h)
		}
	}
	return all
}

// phases are the moments at which somebody dies: n2 has just done its part.
var phases = []struct {
	name string
	cut  snapline.Strategy
	at   moment
}{
	{"prepare", snapline.Colour, moment{"n2", "ready"}},
	{"arm", snapline.Colour, moment{"n2", "armed"}},
	{"cut", snapline.Colour, moment{"n2", "cut"}},
	{"disarm", snapline.Colour, moment{"n2", "disarmed"}},
	{"store", snapline.Colour, moment{"n2", "storing"}},
	{"barrier arm", snapline.Barrier, moment{"n2", "armed"}},
	{"barrier cut", snapline.Barrier, moment{"n2", "cut"}},
}

func (f *faults) kill(t *testing.T, daemon string) {
	t.Helper()
	if err := f.KillDaemon(t.Context(), daemon); err != nil {
		t.Fatal(err)
	}
}

func (f *faults) awaitUngatedOn(t *testing.T, limit time.Duration, hosts ...string) time.Duration {
	t.Helper()
	return await(t, limit, "no gate", func(context.Context) error { return f.ungated(hosts...) })
}
