package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// Two groups, or a group and somebody's machine, have monitors of the same path on
// different hosts, as scripts make them. A restore of the one leaves the other
// alone, and does not take its place.
func TestRestoreSparesOthers(t *testing.T) {
	s := newSite(t)
	id := s.mustTake()
	neighbour := s.cloud.bootAt("/run/n1.qmp", "h2", "m9", "somebody's work")
	twin := s.cloud.bootAt("/run/n1.qmp", "h3", "n1", "an instance of n1") // nobody knows how it came there
	for _, place := range []map[snapline.MemberName]snapline.HostName{nil, {"n3": "h1"}} {
		if op := s.restore(id, place); op.Error != nil {
			t.Fatal(op.Error)
		}
		if s.cloud.find("h2", "m9") != neighbour {
			t.Fatal("a restore has ended another's machine")
		}
	}
	if s.cloud.find("h3", "n1") == twin {
		t.Error("an instance of n1 lives on")
	}
	for _, to := range []snapline.HostName{"h2", "h3"} {
		op := s.restore(id, map[snapline.MemberName]snapline.HostName{"n1": to})
		if refused := op.Error != nil && op.Error.Code == snapline.CodeRefused && strings.Contains(op.Error.Error(), "another machine"); refused != (to == "h2") {
			t.Errorf("n1 to %s: %v", to, op.Error)
		}
	}
	if s.cloud.find("h2", "m9") != neighbour {
		t.Error("another's machine was ended")
	}
}

// Members whose monitors have the same path cannot share a host, nor can one take
// the place of another group's; a recovery knows that, and does not try it for ever.
func TestRecoveryWithEqualPaths(t *testing.T) {
	same := func(s *site) snapline.Group {
		g := s.group()
		for i := range g.Members {
			g.Members[i].QEMU.QMP = "/run/vm.qmp"
		}
		return g
	}
	s := newProtected(t, every(time.Hour))
	if err := s.c.Unprotect(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		s.cloud.find(host(i), member(i)).Kill(t.Context())
		s.cloud.bootAt("/run/vm.qmp", host(i), member(i), "state of "+string(member(i)))
	}
	if _, err := s.c.Apply(t.Context(), same(s)); err != nil {
		t.Fatal(err)
	}
	s.startAgent("h4")
	s.startAgent("h5")
	s.waitOnline(5)
	neighbour := s.cloud.bootAt("/run/vm.qmp", "h4", "m9", "another group's")
	other := snapline.Group{Name: "other", Members: []snapline.Member{{Name: "m9", Host: "h4", QEMU: &snapline.QEMU{QMP: "/run/vm.qmp"}}}}
	if _, err := s.c.Apply(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	id := s.mustTake()
	if op := s.restore(id, map[snapline.MemberName]snapline.HostName{"n1": "h2"}); op.Error == nil || op.Error.Code != snapline.CodeRefused || !strings.Contains(op.Error.Error(), "same path") {
		t.Errorf("n1 and n2 on one host: %v", op.Error)
	}
	s.protect(every(time.Hour))
	s.calm()
	s.stopA["h2"]()
	s.awaitEvent(snapline.EventRecovered, 0)
	if !slices.ContainsFunc(s.members(), func(m snapline.MemberStatus) bool { return m.Name == "n2" && m.Host == "h5" }) {
		t.Errorf("recovered to %+v", s.members())
	}
	if s.cloud.find("h4", "m9") != neighbour {
		t.Error("another group's machine was ended")
	}
}
