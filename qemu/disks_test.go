package qemu_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
)

// diskMachine is a machine that boots package disk's guest, which writes
// numbered records to its disk and dirties its memory between them.
func diskMachine(t testing.TB, mib int) (m *machine, path string) {
	t.Helper()
	needRoot(t)
	boot, err := os.ReadFile("disk/testdata/guest.bin")
	if err != nil {
		t.Fatal(err)
	}
	// Its parameters: see disk/guest_test.go.
	binary.LittleEndian.PutUint32(boot[0x1a4:], 4095)
	binary.LittleEndian.PutUint32(boot[0x1a8:], 4096)
	binary.LittleEndian.PutUint32(boot[0x1ac:], uint32(mib-4)<<20)
	boot[0x1b0] = 0x81
	m = &machine{dir: t.TempDir()}
	m.qmp, m.second, m.output = filepath.Join(m.dir, "qmp"), filepath.Join(m.dir, "second"), filepath.Join(m.dir, "out")
	raw := filepath.Join(m.dir, "boot.raw")
	path = filepath.Join(m.dir, "disk.qcow2")
	if err := os.WriteFile(raw, boot, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(raw, 64<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, path)
	m.args = []string{
		"-machine", "q35", "-accel", "tcg", "-m", fmt.Sprint(mib), "-nodefaults", "-display", "none",
		"-drive", "if=none,id=d0,format=qcow2,file=" + path, "-device", "virtio-blk-pci,drive=d0,bootindex=0",
		"-chardev", "file,id=out,path=" + m.output + ",append=on",
		"-device", "isa-debugcon,iobase=0xe9,chardev=out",
		"-qmp", "unix:" + m.qmp + ",server=on,wait=off",
		"-qmp", "unix:" + m.second + ",server=on,wait=off",
	}
	return m, path
}

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
			m, path := diskMachine(t, 128)
			m.startWriting(t)
			vm := adopt(t, hypervisor(t, qemu.Options{Disks: true, StateDir: t.TempDir(), ForceStopAndCopy: force}), m)
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
	m, path := diskMachine(t, 128)
	m.startWriting(t)
	state := t.TempDir()
	vm := adopt(t, hypervisor(t, qemu.Options{Disks: true, StateDir: state}), m)
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
	m, path := diskMachine(t, 64)
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{Disks: true, StateDir: t.TempDir()})
	vm := adopt(t, h, m)
	capture(t, vm, filepath.Join(m.dir, "spool"))
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	if err := h.RecoverDisks(testContext(t)); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	m.kill()
	<-vm.Gone()
	if err := h.RecoverDisks(context.Background()); err != nil {
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
	m, _ := diskMachine(b, 1024)
	m.startWriting(b)
	vm := adopt(b, hypervisor(b, qemu.Options{Disks: true, StateDir: b.TempDir()}), m)
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
	m, path := diskMachine(t, 64)
	m.startWriting(t)
	o := qemu.Options{Disks: true, StateDir: t.TempDir()}
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
