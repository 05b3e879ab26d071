package node_test

import (
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

// hasFinding reports whether there is one that says so.
func hasFinding(all []snapline.Finding, h snapline.HostName, m snapline.MemberName, check string, state snapline.FindingState, word string) bool {
	for _, f := range all {
		if f.Host == h && f.Member == m && f.Check == check && f.State == state && strings.Contains(f.Text, word) {
			return true
		}
	}
	return false
}

func TestDoctorHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.stopA["h3"]()
	delete(s.stopA, "h3")
	eventually(t, "h3 counts as offline", func() bool {
		all, err := s.c.Hosts(t.Context())
		return err == nil && all[2].Agent == "offline"
	})
	found, err := s.c.Doctor(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []snapline.HostName{"h1", "h2"} {
		for check, word := range map[string]string{"agent": "online", "repository": "MiB free", "kernel": "fake"} {
			if !hasFinding(found, h, "", check, snapline.FindingOK, word) {
				t.Errorf("%s: no %s with %q in %+v", h, check, word, found)
			}
		}
		// It is the same clock; on a busy machine the answers may be too slow to tell.
		if !hasFinding(found, h, "", "clock-rate", snapline.FindingOK, "off the coordinator's") &&
			!hasFinding(found, h, "", "clock-rate", snapline.FindingWarning, "off the coordinator's") {
			t.Errorf("%s: the clock's rate in %+v", h, found)
		}
	}
	if !hasFinding(found, "h3", "", "agent", snapline.FindingProblem, "not been heard of") {
		t.Errorf("h3 is offline: %+v", found)
	}
}

// TestDoctorGroup: what a round would find is found, and no gate stays.
func TestDoctorGroup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	doctor := func() []snapline.Finding {
		t.Helper()
		found, err := s.c.Doctor(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		for h, g := range s.gates {
			if n := g.count(); n > 0 {
				t.Errorf("%d gates left on %s", n, h)
			}
		}
		return found
	}
	found := doctor()
	for i := 1; i <= 3; i++ {
		if !hasFinding(found, host(i), member(i), "member", snapline.FindingOK, "can be snapshotted") {
			t.Errorf("%s: %+v", member(i), found)
		}
		if !hasFinding(found, host(i), member(i), "path", snapline.FindingOK, "0x2b arrives unchanged") {
			t.Errorf("paths to %s: %+v", member(i), found)
		}
	}
	none := snapline.Codepoint(0)
	s.gates["h2"].bleach = &none
	s.gates["h1"].fail = errBroken
	s.cloud.failAt("adopt n3", errBroken)
	found = doctor()
	if !hasFinding(found, "h1", "n1", "member", snapline.FindingProblem, "broken on purpose") || !hasFinding(found, "h3", "n3", "member", snapline.FindingProblem, "broken on purpose") {
		t.Errorf("n1 and n3 cannot be snapshotted: %+v", found)
	}
	s.gates["h1"].fail = nil
	s.cloud.failAt("adopt n3", nil)
	found = doctor()
	if !hasFinding(found, "h1", "n1", "path", snapline.FindingProblem, "n2 → n1: codepoint 0x2b arrives as 0x00") ||
		!hasFinding(found, "h1", "n1", "path", snapline.FindingOK, "n3 → n1") {
		t.Errorf("only n2's probes lose their mark: %+v", found)
	}
	if op, _ := s.follow(s.c.Take(t.Context(), snapline.TakeRequest{Group: "g", Strategy: snapline.Barrier})); op.Error != nil {
		t.Errorf("the group is free again: %v", op.Error)
	}
}
