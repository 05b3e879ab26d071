package disk_test

import "testing"

// TestManyRounds freezes and merges over and over while the guest writes.
func TestManyRounds(t *testing.T) {
	for _, kind := range []string{"virtio-drive-qcow2", "scsi-blockdev-qcow2", "sata-drive-raw"} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t, 0, kind)
			m.start(t)
			journals := t.TempDir()
			s, vm := store(t, journals), m.connect(t)
			for range 40 {
				set, err := freeze(testContext(t), s, vm)
				if err != nil {
					t.Fatal(err)
				}
				m.awaitRecords(t, 5)
				if err := set.Cancel(testContext(t)); err != nil {
					t.Fatal(err)
				}
			}
			m.checkClean(t, journals)
			m.checkDisks(t, m.awaitRecords(t, 5))
		})
	}
}
