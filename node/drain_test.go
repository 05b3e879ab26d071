package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

func (s *site) drain(r snapline.DrainRequest) snapline.Operation {
	s.t.Helper()
	op, _ := s.follow(s.c.Drain(s.t.Context(), r))
	return op
}

// A drained host gets no members, whoever asks and whoever coordinates, until it
// is undrained.
func TestDrainedHostGetsNoMembers(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.goOn()
	op := s.drain(snapline.DrainRequest{Host: "h2"})
	if op.Error != nil || len(op.Drain.Moved) != 1 {
		t.Fatalf("drain %+v, %v", op.Drain, op.Error)
	}
	to := op.Drain.Moved[0].Place["n2"]
	if vm := s.cloud.find(to, "n2"); to == "h2" || vm == nil || vm.now() != "running, a later state of n2" {
		t.Errorf("n2 is on %s, without what it did until the drain", to)
	}
	s.stopC()
	s.startCoordinator()
	s.waitOnline(3)
	refused := s.restore(op.Drain.Moved[0].Snapshot, map[snapline.MemberName]snapline.HostName{"n2": "h2"})
	if refused.Error == nil || refused.Error.Code != snapline.CodeRefused || !strings.Contains(refused.Error.Error(), "drained") {
		t.Errorf("restore to a drained host: %+v", refused.Error)
	}
	s.stopA["h3"]()
	s.awaitEventWithin(30*time.Second, snapline.EventRecovered, 0)
	if !slices.ContainsFunc(s.members(), func(m snapline.MemberStatus) bool { return m.Name == "n3" && m.Host == "h1" }) {
		t.Errorf("recovered to %+v", s.members())
	}
	if err := s.c.Undrain(t.Context(), "h2"); err != nil {
		t.Fatal(err)
	}
	if op := s.restore("g-1", map[snapline.MemberName]snapline.HostName{"n1": "h1", "n2": "h2", "n3": "h1"}); op.Error != nil {
		t.Errorf("restore after undrain: %v", op.Error)
	}
}

func (s *site) members() []snapline.MemberStatus {
	s.t.Helper()
	st, err := s.c.Status(s.t.Context(), "g")
	if err != nil {
		s.t.Fatal(err)
	}
	return st.Members
}

// At the deadline the owner gets the host, and recovery takes over.
func TestDrainDeadline(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.goOn()
	release := s.cloud.holdAt("finish n1") // a snapshot that takes for ever
	defer release()
	op := s.drain(snapline.DrainRequest{Host: "h2", DeadlineMS: 500})
	if op.Error != nil || len(op.Drain.Moved) != 0 || !slices.Equal(op.Drain.Released, []snapline.GroupName{"g"}) {
		t.Fatalf("drain %+v, %v", op.Drain, op.Error)
	}
	e := s.awaitEvent(snapline.EventRecovered, 0)
	if s.cloud.find("h2", "n2") != nil {
		t.Error("the owner's host still runs n2")
	}
	for _, m := range s.members() {
		if m.Host == "h2" || !s.runsAt(m.Host, m.Name) {
			t.Errorf("after %q: %+v", e.Text, m)
		}
	}
}

// What is not protected is not ended: the drain says so, and the host is drained
// all the same.
func TestDrainOfUnprotectedGroup(t *testing.T) {
	s := newSite(t)
	s.cloud.failAt("problems n1", errBroken)
	op := s.drain(snapline.DrainRequest{Host: "h2", DeadlineMS: 300})
	if op.Error == nil || op.Error.Code != snapline.CodeFailed || !strings.Contains(op.Error.Error(), "not protected") || !strings.Contains(op.Error.Error(), errBroken.Error()) {
		t.Fatalf("error %+v", op.Error)
	}
	if vm := s.cloud.find("h2", "n2"); vm == nil || vm.now() != "running, state of n2" {
		t.Error("n2 was touched")
	}
	_, err := s.c.Drain(t.Context(), snapline.DrainRequest{Host: "h2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Drain(t.Context(), snapline.DrainRequest{Host: "h2"}); code(err) != snapline.CodeBusy {
		t.Errorf("a second drain: %v", err)
	}
	if err := s.c.Undrain(t.Context(), "h2"); code(err) != snapline.CodeBusy {
		t.Errorf("undrain during a drain: %v", err)
	}
}

// While there is no room a group is not snapshotted again and again; it goes as
// soon as there is some.
func TestDrainWaitsForRoom(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	apart := s.group()
	apart.AntiAffinity = [][]snapline.MemberName{{"n1", "n2", "n3"}}
	if _, err := s.c.Apply(t.Context(), apart); err != nil {
		t.Fatal(err)
	}
	s.goOn()
	op, err := s.c.Drain(t.Context(), snapline.DrainRequest{Host: "h2"})
	if err != nil {
		t.Fatal(err)
	}
	steps, err := s.c.Progress(t.Context(), op.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	for p := range steps {
		if p.Phase == "wait" && strings.Contains(p.Text, "kept apart") {
			break
		}
	}
	s.startAgent("h4")
	if op, _ = s.follow(op, nil); op.Error != nil || op.Drain.Moved[0].Place["n2"] != "h4" {
		t.Fatalf("drain %+v, %v", op.Drain, op.Error)
	}
	if n := len(s.snapshots()); n > 4 { // it was tried every 20 ms
		t.Errorf("%d snapshots of one drain", n-1)
	}
}
