package fencetest_test

import (
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/fencetest"
)

func TestMemory(t *testing.T) {
	fencetest.Test(t, func(*testing.T) *fencetest.Site {
		m := &fencetest.Memory{Now: func() snapline.Instant { return 1000 }}
		return &fencetest.Site{
			Fences: m, NICs: []snapline.NIC{{ID: "net0", Tap: "left"}, {ID: "net1", Tap: "right"}}, Now: m.Now,
			Out: func(_ *testing.T, tap string) (bool, bool) { return m.Out(tap) },
			In:  func(_ *testing.T, tap string, p fencetest.Packet) bool { return m.In(tap, p) },
		}
	})
}
