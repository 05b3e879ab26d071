package node_test

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// A host dies, its group is brought back without it, and the host is started again:
// its own scripts start the member anew, which has no fence. Another's machine behind a
// monitor of the same path is left alone.
func TestMemberStartedByItsOldHost(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.stopA["h2"]()
	s.cloud.find("h2", "n2").Kill(t.Context())
	s.fences["h2"].Remove("tap-n2")
	s.awaitEvent(snapline.EventRecovered, 0)
	s.startAgent("h2")
	s.waitOnline(3)
	s.stopC() // whoever coordinates
	s.startCoordinator()
	s.waitOnline(3)
	s.cloud.boot("h2", "n2", "from its old disk")
	eventually(t, "the end of what h2 has started", func() bool { return s.cloud.find("h2", "n2") == nil })
	neighbour := s.cloud.bootAt("/run/n2.qmp", "h2", "m9", "another's")
	held := time.After(6 * time.Second)
	for ended := false; !ended; {
		select {
		case <-neighbour.Gone():
			t.Fatal("another's machine was ended")
		case <-held:
			ended = true
		}
	}
	neighbour.Kill(t.Context())
	if op := s.restore("g-1", nil); op.Error != nil { // n2 is at home again
		t.Fatal(op.Error)
	}
	again := s.cloud.find("h2", "n2")
	s.mustTake()
	select {
	case <-again.Gone():
		t.Error("n2 was ended where it belongs")
	case <-time.After(6 * time.Second):
	}
}
