package bpf

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// TestHushStandsInFrontOfGate: a round's gate is up when the fence that silences its
// machine is raised. What does not leave has not been sent, and is in no record; what
// arrives is.
func TestHushStandsInFrontOfGate(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			vm, outside := h.addTap(t, "vm"), h.addTap(t, "outside")
			g, nics := h.gates(t, mode), []snapline.NIC{{ID: "net0", Tap: "vm"}}
			gate, err := g.Open(t.Context(), nics, snapline.PostCodepoint)
			if err != nil {
				t.Fatal(err)
			}
			defer gate.Close()
			f, err := g.Raise(t.Context(), snapline.FenceSpec{NICs: nics, Restored: snapline.RestoredCodepoint, Rules: snapline.FenceRules{OpenUntil: snapline.Always}})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Lower()
			h.passes(t, vm, outside)
			before, err := gate.Counters()
			if err != nil || before.Out == 0 || before.In == 0 {
				t.Fatalf("the gate has seen %+v, %v", before, err)
			}
			if err := f.Set(snapline.FenceRules{OpenUntil: snapline.Always, HushedUntil: bootTime(t).Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			for _, frame := range fenceFrames() {
				vm.send(t, frame, 0)
				h.inject(t, "vm", frame)
				if vm.receive(t, 5*time.Second) == nil {
					t.Errorf("a hushed machine does not hear %.20x", frame)
				}
			}
			after, err := gate.Counters()
			if err != nil || after.Out != before.Out || after.In != before.In+uint64(len(fenceFrames())) {
				t.Errorf("the gate has seen %+v, before the silence %+v, %v", after, before, err)
			}
			if err := f.Lower(); err != nil {
				t.Fatal(err)
			}
			h.passes(t, vm, outside)
		})
	}
}
