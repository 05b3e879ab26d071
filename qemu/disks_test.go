package qemu_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
)

func releaseAll(t testing.TB, disks []snapline.FrozenDisk) {
	t.Helper()
	for _, d := range disks {
		if err := d.Release(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskOfTheSameInstant compares a captured disk with the RAM of the same
// capture: the guest has its next number in memory at 0x7da0, so every lower
// one must be on the disk, and none above.
func TestDiskOfTheSameInstant(t *testing.T) {
	for name, force := range map[string]string{"live": "", "stopped": "the test wants it"} {
		t.Run(name, func(t *testing.T) {
			m, files := diskMachine(t, 128, "virtio")
			path := files[0].path
			m.startWriting(t)
			vm := adopt(t, hypervisor(t, qemu.Options{StateDir: t.TempDir(), ForceStopAndCopy: force}), m)
			if r := vm.Problems(testContext(t)); len(r) > 0 {
				t.Fatal(r)
			}
			report, done := capture(t, vm, filepath.Join(m.dir, "g-1-vm"))
			t.Logf("pause %.1f ms", report.PauseMS)
			if len(done.Disks) != 1 {
				t.Fatalf("disks: %v", done.Disks)
			}
			m.awaitSweep(t, m.awaitSweep(t, 0)+20)
			var newest uint32
			for e, err := range done.Disks[0].Extents(testContext(t)) {
				if err != nil {
					t.Fatal(err)
				}
				for at := int64(0); at < e.Length && e.Offset >= 1<<20; at += 4096 {
					newest = max(newest, binary.LittleEndian.Uint32(e.Data[at:]))
				}
			}
			releaseAll(t, done.Disks)
			releaseAll(t, done.Disks)
			next := nextRecord(t, done.Path)
			if newest+1 != next && newest != next {
				t.Errorf("newest record on the disk is %d, the next one in RAM %d", newest, next)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if r := vm.Problems(testContext(t)); len(r) > 0 {
				t.Error(r)
			}
		})
	}
}

// nextRecord finds the guest's counter in a captured stream: page 0x7000 of
// the RAM, recognised by the guest's code in it.
func nextRecord(t testing.TB, spool string) uint32 {
	t.Helper()
	b, err := os.ReadFile(spool)
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("disk/testdata/guest.bin")
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), string(code[:0x80]))
	if i < 0 {
		t.Fatal("no boot sector in the stream")
	}
	return binary.LittleEndian.Uint32(b[i+0x1a0:])
}

// TestCancelWithDisk gives up in every phase.
func TestCancelWithDisk(t *testing.T) {
	m, files := diskMachine(t, 128, "virtio")
	path := files[0].path
	m.startWriting(t)
	state := t.TempDir()
	vm := adopt(t, hypervisor(t, qemu.Options{StateDir: state}), m)
	for _, phase := range []string{"primed", "cut", "finished"} {
		c, err := vm.Prime(testContext(t), filepath.Join(m.dir, "spool"))
		if err != nil {
			t.Fatal(err)
		}
		if phase != "primed" {
			if _, err := c.Cut(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		if phase == "finished" {
			if _, err := c.Finish(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		c.Cancel()
		m.awaitSweep(t, m.awaitSweep(t, 0)+20)
		for _, pattern := range []string{path + ".*", filepath.Join(state, "disks", "*")} {
			if left, _ := filepath.Glob(pattern); len(left) > 0 {
				t.Errorf("%s: left: %v", phase, left)
			}
		}
	}
}

// TestDisksOfDeadVM kills the VM with its disk frozen.
func TestDisksOfDeadVM(t *testing.T) {
	m, files := diskMachine(t, 64, "virtio")
	path := files[0].path
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{StateDir: t.TempDir()})
	vm := adopt(t, h, m)
	capture(t, vm, filepath.Join(m.dir, "spool"))
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	if err := h.Reconcile(testContext(t)); err != nil {
		t.Errorf("while somebody else has its monitor: %v", err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 1 {
		t.Errorf("overlays: %v", left)
	}
	m.kill()
	<-vm.Gone()
	if err := h.Reconcile(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	run(t, "qemu-img", "check", "-q", path)
}

// BenchmarkCutWithDisk measures on a guest of 1 GiB that writes to its memory
// and its disk all the time: stop, switch, snapshot, resume.
func BenchmarkCutWithDisk(b *testing.B) {
	m, _ := diskMachine(b, 1024, "virtio")
	m.startWriting(b)
	vm := adopt(b, hypervisor(b, qemu.Options{StateDir: b.TempDir()}), m)
	var pauses []float64
	for b.Loop() {
		report, done := capture(b, vm, filepath.Join(m.dir, "spool"))
		pauses = append(pauses, report.PauseMS)
		releaseAll(b, done.Disks)
		m.awaitSweep(b, m.awaitSweep(b, 0)+20)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(pauses), "pause-ms")
	b.ReportMetric(slices.Max(pauses), "pause-max-ms")
}

// TestNextAgentMerges lets go of a VM with its disk frozen, as an agent that
// dies does: who adopts it next finishes the merge.
func TestNextAgentMerges(t *testing.T) {
	m, files := diskMachine(t, 64, "virtio")
	path := files[0].path
	m.startWriting(t)
	o := qemu.Options{StateDir: t.TempDir()}
	vm := adopt(t, hypervisor(t, o), m)
	capture(t, vm, filepath.Join(m.dir, "spool"))
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	vm.Close()
	vm = adopt(t, hypervisor(t, o), m)
	if r := vm.Problems(testContext(t)); len(r) > 0 {
		t.Error(r)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	_, done := capture(t, vm, filepath.Join(m.dir, "spool"))
	releaseAll(t, done.Disks)
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
}

// A machine that is ended while a dead agent's overlay is still in use, because
// its member was restored elsewhere, leaves its disk whole and alone.
func TestStopMerges(t *testing.T) {
	m, files := diskMachine(t, 64, "virtio")
	m.startWriting(t)
	o := qemu.Options{StateDir: t.TempDir()}
	vm := adopt(t, hypervisor(t, o), m)
	capture(t, vm, filepath.Join(m.dir, "spool"))
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	vm.Close()
	if left, _ := filepath.Glob(files[0].path + ".*"); len(left) == 0 {
		t.Fatal("there is no overlay")
	}
	if err := hypervisor(t, o).Stop(testContext(t), m.member(), nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(files[0].path + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	run(t, "qemu-img", "check", "-q", files[0].path)
}
