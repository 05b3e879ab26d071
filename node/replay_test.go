package node_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/node"
)

// inTransit has n1 send packets to n2 before the cut, and n2 receive them after it.
// Only the one with the ID 1 is kept.
func (s *site) inTransit(sent ...uint16) {
	packet := func(id uint16) snapline.Packet {
		return snapline.Packet{At: 1, Protocol: 17, ID: id, Length: 4, Digest: 9,
			Source: netip.MustParseAddrPort("10.0.0.1:5"), Destination: netip.MustParseAddrPort("10.0.0.2:6")}
	}
	s.gates["h1"].recording = func() (r snapline.Recording) {
		for _, id := range sent {
			r.Packets = append(r.Packets, packet(id))
		}
		return r
	}
	s.gates["h2"].recording = func() snapline.Recording {
		now := node.BootClock{}.Now()
		r := snapline.Recording{Frames: []snapline.Frame{{At: now, Length: 46, Data: s.frame()}}}
		for _, id := range sent {
			p := packet(id)
			p.At, p.Inbound = now, true
			r.Packets = append(r.Packets, p)
		}
		return r
	}
}

// frame is the packet with the ID 1 on its way to n2.
func (s *site) frame() []byte {
	f := make([]byte, 46)
	f[12], f[14], f[22], f[23] = 8, 0x45, 64, 17
	binary.BigEndian.PutUint16(f[16:], 32)
	binary.BigEndian.PutUint16(f[18:], 1)
	copy(f[26:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	return f
}

func (s *site) replay(id snapline.SnapshotID, how snapline.Replay) (snapline.Operation, error) {
	s.t.Helper()
	op, err := s.c.Restore(s.t.Context(), snapline.RestoreRequest{Snapshot: id, ReplayChannel: how, Place: map[snapline.MemberName]snapline.HostName{"n2": "h3", "n3": "h2"}})
	if err != nil {
		return op, err
	}
	op, _ = s.follow(op, nil)
	return op, nil
}

func (s *site) running() (n int) {
	for h := 1; h <= 3; h++ {
		for m := 1; m <= 3; m++ {
			if vm := s.cloud.find(host(h), member(m)); vm != nil && strings.HasPrefix(vm.now(), "running") {
				n++
			}
		}
	}
	return n
}

func TestReplayDeliversWhereTheMemberIsNow(t *testing.T) {
	s := newSite(t)
	s.inTransit(1)
	id := s.mustTake()
	snap, err := s.c.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if c := snap.Verdict.Channel; c == nil || !c.Complete || c.InTransit != 1 || c.Kept != 1 {
		t.Fatalf("channel %+v", c)
	}
	if op := s.restore(id, nil); op.Error != nil || op.Restore.Replayed != nil || len(s.gates["h2"].delivered) != 0 {
		t.Fatalf("without being asked: %+v", op)
	}
	op, err := s.replay(id, snapline.ReplayComplete)
	if err != nil || op.Error != nil || op.Restore.Replayed == nil || *op.Restore.Replayed != 1 {
		t.Fatalf("%+v %v", op, err)
	}
	for h, want := range map[snapline.HostName]int{"h1": 0, "h2": 0, "h3": 1} {
		if got := s.gates[h].delivered; len(got) != want || want == 1 && string(got[0]) != string(s.frame()) {
			t.Errorf("delivered at %s: % x", h, got)
		}
	}
}

// TestReplayRefusesBeforeItKills: a channel that is not complete, or not there.
func TestReplayRefusesBeforeItKills(t *testing.T) {
	s := newSite(t)
	s.inTransit(1, 2)
	id := s.mustTake()
	_, err := s.replay(id, snapline.ReplayComplete)
	if code(err) != snapline.CodeRefused || !strings.Contains(err.Error(), "1 packet in transit whose content could not be kept") {
		t.Errorf("incomplete: %v", err)
	}
	if _, err := s.replay(id, "some"); code(err) != snapline.CodeInvalid {
		t.Errorf("no such kind: %v", err)
	}
	if s.running() != 3 {
		t.Fatal("members were touched")
	}
	op, err := s.replay(id, snapline.ReplayKnown)
	if err != nil || op.Error != nil || *op.Restore.Replayed != 1 {
		t.Errorf("what is known: %+v %v", op, err)
	}

	op, _ = s.follow(s.c.Take(t.Context(), snapline.TakeRequest{Group: "g", Strategy: snapline.Barrier}))
	if op.Take == nil {
		t.Fatal(op.Error)
	}
	for _, how := range []snapline.Replay{snapline.ReplayComplete, snapline.ReplayKnown} {
		if _, err := s.replay(op.Take.ID, how); code(err) != snapline.CodeRefused {
			t.Errorf("by barrier, %s: %v", how, err)
		}
	}
}

// TestFailedReplayLeavesNothingRunning: members without their packets are not what
// was asked for.
func TestFailedReplayLeavesNothingRunning(t *testing.T) {
	s := newSite(t)
	s.inTransit(1)
	id := s.mustTake()
	s.gates["h3"].fail = errBroken
	op, err := s.replay(id, snapline.ReplayComplete)
	if err != nil || op.Error == nil || op.Error.Code != snapline.CodeFailed || !strings.Contains(op.Error.Error(), "packets in transit") {
		t.Fatalf("%+v %v", op, err)
	}
	if n := s.running(); n != 0 {
		t.Errorf("%d members are left running", n)
	}
}

// TestReplayWantsToKnowTheNIC: of several, a frame for none of them may have come by
// any.
func TestReplayWantsToKnowTheNIC(t *testing.T) {
	s := newSite(t)
	s.inTransit(1)
	s.cloud.second = true
	id := s.mustTake()
	op, err := s.replay(id, snapline.ReplayComplete)
	if err != nil || op.Error == nil || op.Error.Code != snapline.CodeRefused || !strings.Contains(op.Error.Error(), "which of the NICs") {
		t.Errorf("%+v %v", op.Error, err)
	}
	if s.running() != 3 {
		t.Error("members were touched")
	}
}
