package rule

import (
	"bytes"
	"testing"

	"github.com/snapline/snapline"
)

// FuzzMarkedIsWithheld holds the one property that the cut stands on: of what
// leaves a VM while the mark is on, nothing passes a shield, save ARP, neighbour
// discovery and probes.
func FuzzMarkedIsWithheld(f *testing.F) {
	ipv4Frame := append(make([]byte, 12), 8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	ipv6Frame := append(append(make([]byte, 12), 0x86, 0xdd, 0x60), make([]byte, 60)...)
	for _, frame := range [][]byte{nil, ipv4Frame, ipv6Frame, ipv4Frame[:20], append(make([]byte, 12), 8, 6), append(make([]byte, 12), 0x81, 0, 0, 1, 8, 0)} {
		f.Add(frame, uint8(snapline.PostCodepoint))
	}
	f.Fuzz(func(t *testing.T, frame []byte, post uint8) {
		const now = 100
		g := Gate{Post: snapline.Codepoint(post%63 + 1), Rules: snapline.GateRules{MarkUntil: now + 1, ShieldUntil: now + 1}}
		before := bytes.Clone(frame)
		left := g.FromVM(frame, now)
		if !bytes.Equal(before, frame) {
			t.Fatal("the frame was changed in place")
		}
		if left.Pass != (left.Counters.Out == 1) || left.Pass == (left.Counters.NonIP == 1) {
			t.Fatalf("counters %+v of a frame that passes: %v", left.Counters, left.Pass)
		}
		if !left.Pass {
			return
		}
		kind, at := parse(frame)
		if kind == arp {
			if !bytes.Equal(left.Frame, frame) {
				t.Fatal("ARP was changed")
			}
			return
		}
		changed := 0
		for i := range frame {
			if frame[i] != left.Frame[i] {
				changed++
			}
		}
		if len(left.Frame) != len(frame) || changed > 4 {
			t.Fatalf("%d bytes changed, length %d became %d", changed, len(frame), len(left.Frame))
		}
		arrived := g.ToVM(left.Frame, now)
		if !arrived.Pass && (arrived.Counters.Withheld == 1 && arrived.Notice || arrived.Probe != nil) {
			return
		}
		if arrived.Pass && discoversNeighbours(left.Frame, kind, at) {
			return
		}
		t.Fatalf("left as %x, and then %+v", left.Frame, arrived)
	})
}
