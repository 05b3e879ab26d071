package qemu_test

import (
	"path/filepath"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
)

// TestCaptureLoadContinue is the whole path: a guest that never stops writing
// is captured while it runs, killed, started again from the capture, and goes
// on from the captured sweep, with all words of memory of one instant.
func TestCaptureLoadContinue(t *testing.T) {
	for name, o := range map[string]qemu.Options{
		"background-snapshot": {},
		"stop-and-copy":       {ForceStopAndCopy: "the test wants it"},
	} {
		t.Run(name, func(t *testing.T) {
			m := guestMachine(t, 64)
			m.startWriting(t)
			h := hypervisor(t, o)
			vm := adopt(t, h, m)
			before := m.awaitSweep(t, 0)
			report, done := capture(t, vm, filepath.Join(m.dir, "spool"))
			after := m.awaitSweep(t, 0)
			t.Logf("%+v %+v", report, done)
			if report.Method != name || report.Why != o.ForceStopAndCopy {
				t.Errorf("report %+v", report)
			}
			if done.PauseMS <= 0 {
				t.Errorf("pause %v ms", done.PauseMS)
			}
			if st := status(t, vm); st != "running" {
				t.Fatalf("after the capture it is %s", st)
			}
			again := m.awaitSweep(t, after)
			info := vm.Info()
			m.kill()
			<-vm.Gone()
			continueFrom(t, h, m, info, done, before, again)
		})
	}
}

// continueFrom loads the capture and checks that it goes on from between two
// sweeps.
func continueFrom(t testing.TB, h *qemu.Hypervisor, m *machine, info snapline.VMInfo, done snapline.Spooled, low, high uint64) {
	t.Helper()
	printed := len(readGuest(t, m.output).sweeps)
	vm := load(t, h, m, info, done.Path)
	if st := status(t, vm); st != "paused" {
		t.Fatalf("loaded VM is %s", st)
	}
	if n := len(readGuest(t, m.output).sweeps); n != printed {
		t.Fatal("the guest ran before it was resumed")
	}
	if err := vm.Resume(testContext(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "restored guest prints", func() bool { return len(readGuest(t, m.output).sweeps) > printed+2 })
	first := readGuest(t, m.output).sweeps[printed]
	if first < low || first > high+64 {
		t.Errorf("restored guest goes on at sweep %d, captured between %d and %d", first, low, high)
	}
}
