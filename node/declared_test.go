package node_test

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// moved is the group with another monitor for n2.
func (s *site) moved(qmp string) snapline.Group {
	g := s.group()
	g.Member("n2").QEMU.QMP = qmp
	return g
}

// A host was cut off, its member restored elsewhere, and the group file changed
// meanwhile. What the host still runs is known by its fence, not by the file.
func TestZombieOfAnOlderDeclaration(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.stopA["h2"]()
	s.awaitEvent(snapline.EventRecovered, 0)
	if _, err := s.c.Apply(t.Context(), s.moved("/run/other.qmp")); err != nil {
		t.Fatal(err)
	}
	s.startAgent("h2")
	eventually(t, "a host without fences", func() bool {
		standing, err := s.fences["h2"].Standing(t.Context())
		return err == nil && len(standing) == 0
	})
	if s.cloud.find("h2", "n2") != nil {
		t.Error("the zombie runs on, and its fence is down")
	}
}

// A snapshot is older than the group file: what runs by the new one is stopped as
// well, or it would live on beside the restored member.
func TestRestoreOfAnOlderDeclaration(t *testing.T) {
	s := newSite(t)
	id := s.mustTake()
	if _, err := s.c.Apply(t.Context(), s.moved("/run/other.qmp")); err != nil {
		t.Fatal(err)
	}
	s.cloud.bootAt("/run/other.qmp", "h2", "n2", "a later state")
	if op := s.restore(id, map[snapline.MemberName]snapline.HostName{"n2": "h3"}); op.Error != nil {
		t.Fatal(op.Error)
	}
	if s.cloud.find("h2", "n2") != nil {
		t.Error("an instance of n2 lives on")
	}
	for _, m := range s.members() {
		if m.VM != "running" {
			t.Errorf("%s is said to be %q", m.Name, m.VM)
		}
	}
}
