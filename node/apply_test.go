package node_test

import (
	"slices"
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
	s.stopA["h3"]() // where n2 is now: it cannot be asked to end it
	s.awaitEvent(snapline.EventHostLost, 0)
	var begun snapline.Operation
	eventually(t, "the recovery has tried", func() (idle bool) {
		var err error
		begun, err = s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: "g-1", Place: map[snapline.MemberName]snapline.HostName{"n2": "h1", "n3": "h1"}})
		return err == nil
	})
	if op := s.ended(begun); op.Error == nil || op.Error.Code != snapline.CodeRefused {
		t.Errorf("restored beside what h3 runs: %v", op.Error)
	}
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
