package protocol_test

import (
	"bytes"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// samples are one filled message of every kind.
func samples() []any {
	ref := protocol.Ref{Group: "g", Round: 1, Member: "n1", Incarnation: "a"}
	part := snapline.MemberSnapshot{Name: "n1", Host: "h1", VM: snapline.VMInfo{Args: []string{"-m", "256"}, NICs: []snapline.NIC{{ID: "net0", MAC: "02:00:00:00:00:01"}}}}
	reasons := []snapline.Reason{{Member: "n1", Text: "no space", Hint: "make some"}}
	restore := protocol.RestoreRef{Op: "r1", Host: "h1", Incarnation: "a"}
	return []any{
		protocol.Prepare{Ref: ref, Member: snapline.Member{Name: "n1", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/n1"}}, Strategy: snapline.Colour, Post: 0x2b, Deadlines: snapline.DefaultDeadlines()},
		protocol.Probe{Ref: ref, Nonce: 1 << 63, Sender: 2, Targets: []string{"02:00:00:00:00:02"}},
		protocol.Arm{Ref: ref}, protocol.Cut{Ref: ref}, protocol.Disarm{Ref: ref}, protocol.Commit{Ref: ref},
		protocol.Abort{Ref: ref, Why: "cancelled"},
		protocol.Prepared{Ref: ref, MACs: []string{"02:00:00:00:00:01"}, RAMBytes: 1 << 28},
		protocol.Refused{Ref: ref, Reasons: reasons},
		protocol.Probed{Ref: ref, Seen: map[uint32]snapline.Codepoint{2: 0x2b}},
		protocol.Armed{Ref: ref},
		protocol.CutDone{Ref: ref, Report: snapline.CaptureReport{Method: "background-snapshot", PauseMS: 4.5}, AgoNS: 17},
		protocol.Disarmed{Ref: ref, Counters: snapline.GateCounters{Out: 1, Marked: 1}},
		protocol.Stored{Ref: ref, Part: part}, protocol.Aborted{Ref: ref},
		protocol.PlanRestore{RestoreRef: restore, Snapshot: "g-1", Group: snapline.Group{Name: "g"}, Members: []snapline.MemberSnapshot{part}},
		protocol.StopMembers{RestoreRef: restore}, protocol.LoadMembers{RestoreRef: restore},
		protocol.OpenMembers{RestoreRef: restore}, protocol.ReplayChannel{RestoreRef: restore}, protocol.UndoRestore{RestoreRef: restore},
		protocol.Planned{RestoreRef: restore, Reasons: reasons}, protocol.Stopped{RestoreRef: restore},
		protocol.Loaded{RestoreRef: restore, LoadMS: map[snapline.MemberName]float64{"n1": 800}},
		protocol.Opened{RestoreRef: restore, AgoNS: 5}, protocol.Replayed{RestoreRef: restore, Packets: 9}, protocol.Undone{RestoreRef: restore},
		protocol.RestoreFailed{RestoreRef: restore, Reasons: reasons},
	}
}

// hostile are messages that no machine of ours sends but a broken one might.
func hostile() []string {
	return []string{
		`{"kind":"Refused","body":{"group":"g","round":1,"member":"n1","incarnation":"a","reasons":null}}`,
		`{"kind":"RestoreFailed","body":{"op":"r1","host":"h1","incarnation":"a"}}`,
		`{"kind":"CutDone","body":{"group":"g","round":1,"member":"n1","incarnation":"a","ago_ns":-9223372036854775808}}`,
		`{"kind":"CutDone","body":{"group":"g","round":1,"member":"n1","incarnation":"a","ago_ns":9223372036854775807}}`,
		`{"kind":"Opened","body":{"op":"r1","host":"h1","incarnation":"a","ago_ns":9223372036854775807}}`,
		`{"kind":"Prepare","body":{"group":"g","round":18446744073709551615,"member":"n1","deadlines":{"ready":9223372036854775807,"arm":9223372036854775807,"cut":9223372036854775807,"gate":9223372036854775807}}}`,
		`{"kind":"Abort","body":null}`, `{"kind":"Arm"}`, `{}`, `null`, `[]`, ``, `{"kind":"End","body":{}}`,
	}
}

func seeds(f *testing.F) {
	for _, m := range samples() {
		b, err := protocol.Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range hostile() {
		f.Add([]byte(s))
	}
}

// FuzzDecode wants no panic, and that what was decoded is encoded to something
// that decodes to the same.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := protocol.Decode(b)
		if err != nil {
			return
		}
		once, err := protocol.Encode(m)
		if err != nil {
			t.Fatalf("encode what was decoded from %q: %v", b, err)
		}
		n, err := protocol.Decode(once)
		if err != nil {
			// Escapes may make it longer than the limit; nothing else may fail.
			if len(once) > protocol.MaxMessage {
				return
			}
			t.Fatalf("decode %q: %v", once, err)
		}
		twice, err := protocol.Encode(n)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q (%v)", once, twice, err)
		}
	})
}

// FuzzMachines hands whatever can be decoded to every machine, wherever it is
// in its round, and wants no panic then or later in the round.
func FuzzMachines(f *testing.F) {
	for depth := range len(journey()) + 1 {
		for _, m := range samples() {
			b, err := protocol.Encode(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(depth, b, b)
		}
		for _, s := range hostile() {
			f.Add(depth, []byte(s), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, depth int, a, b []byte) {
		for _, how := range []snapline.Strategy{snapline.Colour, snapline.Barrier} {
			s := newStage()
			s.silent = true
			if err := s.begin(how, []string{"n1", "n2"}); err != nil {
				t.Fatal(err)
			}
			trouble(s, depth, a, b)
		}
		s := newStage()
		s.silent = true
		if err := s.beginRestore([]string{"n1=h1", "n2=h2"}); err != nil {
			t.Fatal(err)
		}
		trouble(s, depth, a, b)
	})
}

// journey is how far a round is taken before the trouble comes.
func journey() []string {
	return []string{"Prepare", "Check", "Probe", "Arm", "PauseVM", "Cut", "Snap", "Disarm", "Store", "Record", "LoadMembers", "OpenMembers"}
}

// trouble takes a round some way, hands the bytes to all machines, and goes on
// to the end.
func trouble(s *stage, depth int, messages ...[]byte) {
	stops := append(journey(), "")
	stop := stops[uint(depth)%uint(len(stops))]
	s.settle(func(_, kind string) bool { return kind == stop })
	for _, b := range messages {
		decoded, err := protocol.Decode(b)
		if err != nil {
			continue
		}
		for _, who := range []string{coordinator, "n1", "h1"} {
			m := s.actors[who]
			_, round := m.(*protocol.Restore)
			_, host := m.(*protocol.RestoreAgent)
			switch msg := decoded.(type) {
			case protocol.Message:
				if m != nil && !round && !host {
					s.step(who, protocol.Received{Msg: msg})
				}
			case protocol.RestoreMessage:
				if round || host {
					s.step(who, protocol.RestoreReceived{Msg: msg})
				}
			}
		}
	}
	for range 3 {
		s.settle(func(string, string) bool { return false })
		s.advance(5e9)
	}
}
