package disk_test

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"
)

// TestGuestFasterThanMerge slows merges down to half of what the guest
// writes all the time, or less: they end all the same, by stops of the guest.
func TestGuestFasterThanMerge(t *testing.T) {
	for _, kind := range []string{"virtio-drive-qcow2", "sata-drive-raw"} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t, 0, kind)
			const few = 256 // slots, so that a slow merge takes seconds
			run(t, "qemu-io", "-f", m.formats[0], "-c", "write -P 0 421 1", m.disks[0])
			m.start(t)
			journals := t.TempDir()
			s, vm := store(t, journals), m.connect(t)
			var holds atomic.Int32
			hold := vm.Hold
			vm.Hold = func(ctx context.Context) (func(), error) {
				holds.Add(1)
				return hold(ctx)
			}
			stops := int32(0)
			if kind == "sata-drive-raw" {
				stops = 1 // it is stopped for the end of every merge
			}
			for n := int64(2); holds.Load() <= stops; n *= 2 {
				if n > 32 {
					t.Fatal("merges end by themselves, however slow they are")
				}
				holds.Store(0)
				set, err := freeze(testContext(t), s, vm)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				m.awaitRecords(t, 2*few)
				speed := int64(2*few*recordSize/time.Since(begin).Seconds()) / n
				s.Slow(speed)
				begin = time.Now()
				if err := set.Cancel(testContext(t)); err != nil {
					t.Fatal(err)
				}
				t.Logf("at %d KiB/s the merge took %v and %d stops", speed>>10, time.Since(begin).Round(time.Millisecond), holds.Load())
			}
			m.awaitRecords(t, 20)
			m.checkClean(t, journals)
			last := m.awaitRecords(t, 5)
			image := content(t, m.disks[0], m.formats[0])
			for slot := range few {
				if got := binary.LittleEndian.Uint32(image[recordsFrom+slot*recordSize:]); got+few <= last {
					t.Errorf("slot %d holds record %d, %d was acknowledged", slot, got, last)
				}
			}
		})
	}
}
