package e2e

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// qemuKilled: a VM that dies while it is captured ends the round, and the
// others run on. A restore brings the whole group back.
func (f *faults) qemuKilled(t *testing.T) {
	f.awaitAgents(t)
	host, _ := f.victim(t)
	others := f.pids(t)
	delete(others, "n2")
	op := f.strike(t, snapline.Colour, moment{"n2", "capturing"}, func() {
		if err := f.KillVM(t.Context(), "n2"); err != nil {
			t.Fatal(err)
		}
	})
	f.awaitUngated(t, time.Second)
	f.blames(t, f.aborted(t, op, snapline.CodeFailed), "n2", host)
	f.forgotten(t, op.Snapshot)
	for name, pid := range others {
		if now, err := f.VMPid(name); err != nil || now != pid {
			t.Errorf("%s: process %d, before %d: %v", name, now, pid, err)
		}
		v, err := f.VM(name)
		if err != nil {
			t.Fatal(err)
		}
		awaitRunning(t, time.Second, v.QMP)
	}
	f.restore(t, f.good, "")
	awaitMoney(t, drainLimit, f.bank, "tcp", 3)
	audit(t, f.bank)
	f.recovers(t)
}
