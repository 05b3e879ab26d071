package fencetest_test

import (
	"net/netip"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/fencetest"
)

func TestMemory(t *testing.T) {
	fencetest.Test(t, func(*testing.T) *fencetest.Site {
		now := snapline.Instant(1000)
		m := &fencetest.Memory{Now: func() snapline.Instant { now++; return now }}
		return &fencetest.Site{
			Fences: m, NICs: []snapline.NIC{{ID: "net0", Tap: "left"}, {ID: "net1", Tap: "right"}}, Now: m.Now,
			Out:  func(_ *testing.T, tap string) (bool, bool) { return m.Out(tap) },
			Send: func(_ *testing.T, tap string, to netip.Addr) { m.Send(tap, fencetest.From, to) },
			In:   func(_ *testing.T, tap string, p fencetest.Packet) bool { return m.In(tap, p) },
		}
	})
}
