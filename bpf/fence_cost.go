package bpf

import (
	"github.com/cilium/ebpf"

	"github.com/snapline/snapline"
)

// fenceCost measures a fence's programs on the frame that the gate's run on.
func fenceCost(c *Cost, packets int) error {
	k, err := newFenceKernel(snapline.FenceSpec{Restored: snapline.RestoredCodepoint,
		Members: snapline.MemberAddresses{MACs: []string{"52:54:00:00:00:01"}}}) // costFrame's sender
	if err != nil {
		return err
	}
	defer k.close()
	tomorrow, err := untilTomorrow(true, true)
	if err != nil {
		return err
	}
	later := snapline.Instant(tomorrow.MarkUntil)
	quarantine := snapline.FenceRules{OpenUntil: later, RestoredUntil: later, RefuseUntil: later}
	for _, m := range []struct {
		program *ebpf.Program
		rules   snapline.FenceRules
		ns      *float64
	}{
		{k.out, snapline.FenceRules{OpenUntil: snapline.Always}, &c.FenceOpen},
		{k.in, snapline.FenceRules{OpenUntil: later}, &c.FenceLease},
		{k.out, snapline.FenceRules{OpenUntil: later}, &c.FenceNote},
		{k.out, quarantine, &c.FenceMark},
		{k.in, quarantine, &c.FenceRefuse},
	} {
		if err := k.rules.Put(uint32(0), encodeFence(m.rules)); err != nil {
			return err
		}
		if *m.ns, err = medianRun(m.program, costFrame(0), packets); err != nil {
			return err
		}
	}
	return nil
}
