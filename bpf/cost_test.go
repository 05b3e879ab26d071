package bpf

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/snapline/snapline"
)

// TestMeasureCost checks that figures come out; how large they may be is the
// bench's question, on a machine that does nothing else.
func TestMeasureCost(t *testing.T) {
	needRoot(t)
	c, err := MeasureCost(10_000)
	if err != nil {
		t.Fatal(err)
	}
	if c.Harness <= 0 || c.IdleOut <= 0 || c.IdleIn <= 0 || c.Mark <= 0 || c.Shield <= 0 || c.Withheld <= 0 ||
		c.FenceOpen <= 0 || c.FenceLease <= 0 || c.FenceNote <= 0 || c.FenceMark <= 0 || c.FenceRefuse <= 0 {
		t.Errorf("cost %+v", c)
	}
	t.Logf("%+v", c)
}

func BenchmarkGateIdleOut(b *testing.B)  { benchmark(b, true, false, false, 0) }
func BenchmarkGateIdleIn(b *testing.B)   { benchmark(b, false, false, false, 0) }
func BenchmarkGateMark(b *testing.B)     { benchmark(b, true, true, false, 0) }
func BenchmarkGateShield(b *testing.B)   { benchmark(b, false, false, true, 0) }
func BenchmarkGateWithheld(b *testing.B) { benchmark(b, false, false, true, snapline.PostCodepoint) }

func benchmark(b *testing.B, out, mark, shield bool, seen snapline.Codepoint) {
	k := newKernel(b, snapline.PostCodepoint)
	rules, err := untilTomorrow(mark, shield)
	if err != nil {
		b.Fatal(err)
	}
	if err := k.objs.Rules.Put(uint32(0), rules); err != nil {
		b.Fatal(err)
	}
	var program *ebpf.Program = k.objs.ToVm
	if out {
		program = k.objs.FromVm
	}
	_, each, err := program.Benchmark(costFrame(seen), b.N, b.ResetTimer)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(each.Nanoseconds()), "ns/packet")
}

// BenchmarkGateSet is the price of flipping a switch.
func BenchmarkGateSet(b *testing.B) {
	h := newHost(b)
	g := h.open(b, TCX)
	for n := range b.N {
		if err := g.Set(snapline.GateRules{MarkUntil: snapline.Instant(n)}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGateOpen is the price of a gate on one NIC, opened and closed.
func BenchmarkGateOpen(b *testing.B) {
	h := newHost(b)
	tap := h.addVM(b, 1).nic
	for range b.N {
		if err := h.open(b, TCX, tap).Close(); err != nil {
			b.Fatal(err)
		}
	}
}
