package node_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// without is the group without n2.
func (s *site) without() snapline.Group {
	g := s.group()
	g.Members = slices.DeleteFunc(g.Members, func(m snapline.Member) bool { return m.Name == "n2" })
	return g
}

// A member that is taken out of a protected group runs on without a lease, and so
// does one that an older snapshot brings back.
func TestFormerMemberIsLetGo(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	free := func(h snapline.HostName) func() bool {
		return func() bool {
			standing, err := s.fences[h].Standing(t.Context())
			return err == nil && !slices.ContainsFunc(standing, func(f snapline.Fence) bool { return f.Owner().Member.Name == "n2" }) && s.talks(h, "n2")
		}
	}
	if _, err := s.c.Apply(t.Context(), s.without()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 without a fence", free("h2"))
	if op := s.restore("g-1", map[snapline.MemberName]snapline.HostName{"n2": "h3"}); op.Error != nil {
		t.Fatal(op.Error)
	}
	eventually(t, "n2 on h3 without a fence", free("h3"))
	s.stopA["h3"]() // n3 is silent when its lease is out; n2, which has none, is not
	e := s.awaitEvent(snapline.EventNotRecovered, 0)
	if reasons := errors.Join(reasonsOf(e)...).Error(); !strings.Contains(reasons, "n2 on h3") {
		t.Errorf("not recovered for %s", reasons)
	}
	if _, err := s.c.Recover(t.Context(), snapline.RecoverRequest{Group: "g"}); code(err) != snapline.CodeRefused {
		t.Errorf("recovered beside what h3 runs: %v", err)
	}
	s.cloud.find("h3", "n2").Kill(t.Context())
	eventually(t, "recovery by a person's word", func() bool {
		_, err := s.c.Recover(t.Context(), snapline.RecoverRequest{Group: "g", Dead: []snapline.HostName{"h3"}})
		return err == nil
	})
	s.calm()
}

// A group file says where a member is. It does not move one that runs under a
// lease: that would end it here before it is brought back there.
func TestApplyMovesNoProtectedMember(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.goOn()
	g := s.group()
	g.Member("n2").Host = "h3"
	if _, err := s.c.Apply(t.Context(), g); code(err) != snapline.CodeRefused {
		t.Fatalf("apply: %v", err)
	}
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	s.calm()
	if vm := s.cloud.find("h2", "n2"); vm == nil || vm.now() != "running, a later state of n2" {
		t.Error("n2 was touched")
	}
}
