package disk_test

import (
	"testing"

	"github.com/snapline/snapline/qemu/disk"
)

// TestFreeJobs has an agent die in the middle of a merge, and somebody end its
// jobs: the guest writes on at once, and loses nothing, neither if it is killed
// before the next agent comes nor if it lives.
func TestFreeJobs(t *testing.T) {
	for _, step := range []string{"merging", "ready", "pending", "pivoting", "pivoted"} {
		for _, fate := range []string{"running", "dead"} {
			t.Run(step+"-"+fate, func(t *testing.T) {
				m := newMachine(t, 0, crashKinds...)
				m.start(t)
				journals := t.TempDir()
				runVictim(t, m, step, journals)
				vm := m.connect(t)
				if err := disk.FreeJobs(testContext(t), vm.Client, journals); err != nil {
					t.Fatal(err)
				}
				last := m.awaitRecords(t, 20)
				s := store(t, journals)
				if fate == "dead" {
					m.kill()
					last = acknowledged(t, m.output)
					if err := s.RecoverStopped(testContext(t), m.qmp); err != nil {
						t.Fatal(err)
					}
				} else if err := s.RecoverRunning(testContext(t), vm); err != nil {
					t.Fatal(err)
				} else {
					last = m.awaitRecords(t, 10)
					if n := len(discover(t, vm)); n != len(m.disks) {
						t.Errorf("%d disks", n)
					}
				}
				m.checkClean(t, journals)
				m.checkDisks(t, last)
			})
		}
	}
}
