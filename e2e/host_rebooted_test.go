package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// hostRebooted: a host loses its power while its VM's disk has an overlay. When
// its agent starts again, before the VM does, the disk is one whole file with
// everything that the guest had written; the round has been aborted, and a
// restore brings the whole group back.
func (f *faults) hostRebooted(t *testing.T) {
	f.awaitAgents(t)
	host, _ := f.victim(t)
	op := f.strike(t, snapline.Colour, moment{"n2", "storing"}, func() {
		if err := f.KillHost(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	})
	left, err := f.BesideDisks(host)
	if err != nil || len(left) == 0 {
		t.Errorf("the power failed before there was an overlay: %v, %v", left, err)
	}
	f.blames(t, f.aborted(t, op, snapline.CodeFailed), "n2", host)
	f.awaitUngatedOn(t, lostLimit, f.others(host)...)
	f.restartAgent(t, host)
	await(t, 20*time.Second, "the disk is one file again", func(context.Context) error {
		left, err := f.BesideDisks(host)
		if err != nil || len(left) > 0 {
			return fmt.Errorf("beside the disks of %s: %v, %v", host, left, err)
		}
		return nil
	})
	whole, err := filepath.Glob(filepath.Join(f.Dir, "disks", host, "*"))
	if err != nil || len(whole) == 0 {
		t.Fatalf("disks: %v, %v", whole, err)
	}
	for _, disk := range whole {
		if out, err := exec.CommandContext(t.Context(), "qemu-img", "check", disk).CombinedOutput(); err != nil {
			t.Errorf("qemu-img check %s: %v: %s", disk, err, out)
		}
	}
	f.forgotten(t, op.Snapshot)
	f.restore(t, f.good, "")
	awaitMoney(t, drainLimit, f.bank, "tcp", 3)
	audit(t, f.bank)
	f.recovers(t)
}
