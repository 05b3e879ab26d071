package fencetest

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// Packet is what a test sends to a machine.
type Packet int

// Kinds of packets.
const (
	Stranger    Packet = iota // from an address of no member, unmarked
	OldTimeline               // from a member's address, unmarked
	Restored                  // from a member's address, marked RESTORED
)

// Site is a host with a virtual machine for the suite.
type Site struct {
	Fences snapline.Fences
	// NICs are the machine's, two at least.
	NICs []snapline.NIC
	// Members are the addresses that OldTimeline and Restored packets come from.
	Members snapline.MemberAddresses
	Now     func() snapline.Instant
	// Out sends a packet from the machine's NIC: does it get on, and marked?
	Out func(t *testing.T, tap string) (passes, marked bool)
	// Send sends one from that NIC to an IPv4 address, always from the same one, and
	// returns when the fence has seen it.
	Send func(t *testing.T, tap string, to netip.Addr)
	// In sends one to it: does it arrive?
	In func(t *testing.T, tap string, p Packet) bool
}

// Test checks what snapline.Fences promises. open's t.Cleanup removes the site.
func Test(t *testing.T, open func(t *testing.T) *Site) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Site)
	}{
		{"a raised fence is shut", testShut},
		{"rules are deadlines", testDeadlines},
		{"quarantine", testQuarantine},
		{"ways", testWays},
		{"more ways than there is room for", testManyWays},
		{"hush", testHush},
		{"a fence outlives who raised it", testOutlives},
		{"two owners", testTwoOwners},
		{"on all NICs or on none", testAllOrNone},
		{"covers", testCovers},
		{"lowering opens", testLower},
		{"after the end", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func (s *Site) spec() snapline.FenceSpec {
	return snapline.FenceSpec{
		Owner: snapline.FenceOwner{Group: "g", Member: snapline.Member{Name: "n1", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/n1.qmp"}}},
		NICs:  s.NICs, Restored: snapline.RestoredCodepoint, Members: s.Members,
	}
}

func (s *Site) raise(t *testing.T) snapline.Fence {
	t.Helper()
	f, err := s.Fences.Raise(t.Context(), s.spec())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Lower(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func set(t *testing.T, f snapline.Fence, r snapline.FenceRules) {
	t.Helper()
	if err := f.Set(r); err != nil {
		t.Fatal(err)
	}
	if now, err := f.Rules(); err != nil || now != r {
		t.Fatalf("rules %+v, %v after setting %+v", now, err, r)
	}
}

// want checks whether anything passes, on every NIC and in both directions.
func (s *Site) want(t *testing.T, when string, passes bool) {
	t.Helper()
	for _, n := range s.NICs {
		if out, marked := s.Out(t, n.Tap); out != passes || marked {
			t.Errorf("%s, %s: leaves: %v, marked: %v", when, n.Tap, out, marked)
		}
		if in := s.In(t, n.Tap, Stranger); in != passes {
			t.Errorf("%s, %s: arrives: %v", when, n.Tap, in)
		}
	}
}

func testShut(t *testing.T, s *Site) {
	s.want(t, "without a fence", true)
	f := s.raise(t)
	if r, err := f.Rules(); err != nil || r != (snapline.FenceRules{}) {
		t.Errorf("rules %+v, %v", r, err)
	}
	s.want(t, "raised", false)
	if c, err := f.Counters(); err != nil || c.Shut < uint64(2*len(s.NICs)) {
		t.Errorf("counters %+v, %v", c, err)
	}
}

func testDeadlines(t *testing.T, s *Site) {
	f := s.raise(t)
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always})
	s.want(t, "no limit", true)
	set(t, f, snapline.FenceRules{OpenUntil: s.Now().Add(time.Hour)})
	s.want(t, "lease", true)
	set(t, f, snapline.FenceRules{OpenUntil: s.Now()})
	s.want(t, "lease out", false)
	set(t, f, snapline.FenceRules{OpenUntil: s.Now().Add(time.Hour)})
	s.want(t, "renewed", true)
	set(t, f, snapline.FenceRules{})
	s.want(t, "shut again", false)
}

func testQuarantine(t *testing.T, s *Site) {
	f := s.raise(t)
	later := s.Now().Add(time.Hour)
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always, RestoredUntil: later, RefuseUntil: later})
	for _, n := range s.NICs {
		if passes, marked := s.Out(t, n.Tap); !passes || !marked {
			t.Errorf("%s: leaves: %v, marked: %v", n.Tap, passes, marked)
		}
		for p, want := range map[Packet]bool{Stranger: true, OldTimeline: false, Restored: true} {
			if got := s.In(t, n.Tap, p); got != want {
				t.Errorf("%s: packet %d arrives: %v", n.Tap, p, got)
			}
		}
	}
	if c, err := f.Counters(); err != nil || c.Refused == 0 || c.Restored == 0 || c.Shut != 0 {
		t.Errorf("counters %+v, %v", c, err)
	}
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always, RestoredUntil: s.Now(), RefuseUntil: s.Now()})
	s.want(t, "quarantine over", true)
	if !s.In(t, s.NICs[0].Tap, OldTimeline) {
		t.Error("quarantine over: still refused")
	}
}

var outside = netip.MustParseAddr("192.0.2.9")

// ways lists them by where they lead.
func ways(t *testing.T, f snapline.Fence) map[netip.Addr]snapline.Way {
	t.Helper()
	all, err := f.Ways()
	if err != nil {
		t.Fatal(err)
	}
	byTo := map[netip.Addr]snapline.Way{}
	for _, w := range all {
		byTo[w.To] = w
	}
	if len(byTo) != len(all) {
		t.Errorf("ways %v", all)
	}
	return byTo
}

func testWays(t *testing.T, s *Site) {
	f := s.raise(t)
	send := func(to netip.Addr) {
		for _, n := range s.NICs {
			s.Send(t, n.Tap, to)
		}
	}
	send(outside) // and it does not get out
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always})
	send(outside)
	if got := ways(t, f); len(got) != 0 {
		t.Errorf("noted without a lease, or shut: %v", got)
	}
	lease := snapline.FenceRules{OpenUntil: s.Now().Add(time.Hour)}
	set(t, f, lease)
	before := s.Now()
	send(outside)
	first := ways(t, f)[outside]
	if first.Last < before || first.Last > s.Now() || !first.From.Is4() {
		t.Errorf("noted %+v, after %d", first, before)
	}
	lease.RestoredUntil = lease.OpenUntil
	set(t, f, lease)
	other := outside.Next()
	send(outside)
	send(other)
	if err := f.Forget([]snapline.Way{first}); err != nil {
		t.Fatal(err)
	}
	both := ways(t, f)
	if both[outside].Last <= first.Last || both[outside].From != first.From || both[other].Last <= first.Last || len(both) != 2 {
		t.Errorf("noted %v after %v", both, first)
	}
	if err := f.Forget([]snapline.Way{both[outside], first}); err != nil {
		t.Fatal(err)
	}
	if left := ways(t, f); len(left) != 1 || left[other] != both[other] {
		t.Errorf("%v are left of %v", left, both)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := s.Fences.Standing(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("standing: %d, %v", len(all), err)
	}
	if found := ways(t, all[0]); len(found) != 1 || found[other] != both[other] {
		t.Errorf("who finds the fence is told %v", found)
	}
	if err := all[0].Lower(); err != nil {
		t.Fatal(err)
	}
}

func testManyWays(t *testing.T, s *Site) {
	f := s.raise(t)
	set(t, f, snapline.FenceRules{OpenUntil: s.Now().Add(time.Hour)})
	to := netip.MustParseAddr("198.18.0.1")
	for range snapline.MaxWays {
		to = to.Next()
		s.Send(t, s.NICs[0].Tap, to)
	}
	if c, err := f.Counters(); err != nil || c.Unnoted != 0 {
		t.Errorf("counters %+v, %v", c, err)
	}
	to = to.Next()
	s.Send(t, s.NICs[0].Tap, to)
	full := ways(t, f)
	if c, err := f.Counters(); err != nil || c.Unnoted != 1 || len(full) != snapline.MaxWays {
		t.Errorf("%d ways, counters %+v, %v", len(full), c, err)
	}
	for _, w := range full {
		if err := f.Forget([]snapline.Way{w}); err != nil {
			t.Fatal(err)
		}
	}
	s.Send(t, s.NICs[0].Tap, to)
	if got := ways(t, f); len(got) != 1 || got[to].Last == 0 {
		t.Errorf("noted %v when there was room again", got)
	}
}

func testHush(t *testing.T, s *Site) {
	f := s.raise(t)
	later := s.Now().Add(time.Hour)
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always, HushedUntil: later})
	for _, n := range s.NICs {
		if passes, _ := s.Out(t, n.Tap); passes {
			t.Errorf("%s: hushed, and leaves", n.Tap)
		}
		for _, p := range []Packet{Stranger, OldTimeline, Restored} {
			if !s.In(t, n.Tap, p) {
				t.Errorf("%s: hushed, and packet %d does not arrive", n.Tap, p)
			}
		}
	}
	if c, err := f.Counters(); err != nil || c.Shut < uint64(len(s.NICs)) || c.Restored+c.Refused != 0 {
		t.Errorf("counters %+v, %v", c, err)
	}
	set(t, f, snapline.FenceRules{OpenUntil: s.Now(), HushedUntil: later})
	s.want(t, "lease out, and hushed", false)
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always, HushedUntil: s.Now()})
	s.want(t, "hush over", true)
	set(t, f, snapline.FenceRules{OpenUntil: snapline.Always})
	s.want(t, "never hushed", true)
}

func testOutlives(t *testing.T, s *Site) {
	f := s.raise(t)
	rules := snapline.FenceRules{OpenUntil: s.Now().Add(time.Hour), RefuseUntil: s.Now().Add(time.Hour), HushedUntil: s.Now().Add(time.Hour)}
	set(t, f, rules)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s.In(t, s.NICs[0].Tap, OldTimeline) {
		t.Error("the rules went with the one who closed the fence")
	}
	all, err := s.Fences.Standing(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("standing: %d, %v", len(all), err)
	}
	if got, want := all[0].Owner(), s.spec().Owner; got.Group != want.Group || got.Member.Name != want.Member.Name || *got.Member.QEMU != *want.Member.QEMU {
		t.Errorf("owner %+v", got)
	}
	if r, err := all[0].Rules(); err != nil || r != rules {
		t.Errorf("rules %+v, %v", r, err)
	}
	if ok, err := all[0].Covers(s.NICs); err != nil || !ok {
		t.Errorf("covers: %v, %v", ok, err)
	}
	set(t, all[0], snapline.FenceRules{})
	s.want(t, "shut by who found it", false)
	if err := all[0].Lower(); err != nil {
		t.Fatal(err)
	}
	s.want(t, "lowered by who found it", true)
	if all, err := s.Fences.Standing(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("standing after that: %d, %v", len(all), err)
	}
}

func testTwoOwners(t *testing.T, s *Site) {
	first := s.raise(t)
	set(t, first, snapline.FenceRules{OpenUntil: snapline.Always})
	spec := s.spec()
	spec.Owner.Group = "other"
	spec.Rules.OpenUntil = s.Now()
	second, err := s.Fences.Raise(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Lower()
	s.want(t, "one of two is shut", false)
	if r, err := second.Rules(); err != nil || r != spec.Rules {
		t.Errorf("rules %+v, %v", r, err)
	}
	all, err := s.Fences.Standing(t.Context())
	if err != nil || len(all) != 2 {
		t.Errorf("standing: %d, %v", len(all), err)
	}
	for _, f := range all {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := second.Lower(); err != nil {
		t.Fatal(err)
	}
	s.want(t, "the other is open", true)
}

func testAllOrNone(t *testing.T, s *Site) {
	spec := s.spec()
	spec.NICs = append([]snapline.NIC{}, s.NICs...)
	spec.NICs = append(spec.NICs, snapline.NIC{ID: "none", Backend: "user"})
	if _, err := s.Fences.Raise(t.Context(), spec); err == nil {
		t.Error("a NIC without a tap was fenced")
	}
	s.want(t, "nothing raised", true)
}

func testCovers(t *testing.T, s *Site) {
	spec := s.spec()
	spec.NICs = s.NICs[:1]
	f, err := s.Fences.Raise(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Lower()
	for want, nics := range map[bool][]snapline.NIC{true: s.NICs[:1], false: s.NICs} {
		if got, err := f.Covers(nics); err != nil || got != want {
			t.Errorf("covers %d NICs: %v, %v", len(nics), got, err)
		}
	}
	if got, err := f.Covers([]snapline.NIC{{ID: "none"}}); err != nil || got {
		t.Errorf("covers a NIC without a tap: %v, %v", got, err)
	}
}

func testLower(t *testing.T, s *Site) {
	f := s.raise(t)
	for range 2 {
		if err := f.Lower(); err != nil {
			t.Fatal(err)
		}
	}
	s.want(t, "lowered", true)
	if all, err := s.Fences.Standing(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("standing: %d, %v", len(all), err)
	}
}

func testClosed(t *testing.T, s *Site) {
	for name, end := range map[string]func(snapline.Fence) error{"Close": snapline.Fence.Close, "Lower": snapline.Fence.Lower} {
		f := s.raise(t)
		if err := end(f); err != nil {
			t.Fatal(err)
		}
		_, rules := f.Rules()
		_, counters := f.Counters()
		_, covers := f.Covers(s.NICs)
		_, noted := f.Ways()
		for what, err := range map[string]error{"Set": f.Set(snapline.FenceRules{}), "Rules": rules, "Counters": counters, "Covers": covers, "Ways": noted, "Forget": f.Forget(nil)} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s after %s: %v", what, name, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Errorf("Close after %s: %v", name, err)
		}
	}
	all, err := s.Fences.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all { // of the one that was only let go of
		if err := f.Lower(); err != nil {
			t.Error(err)
		}
	}
}
