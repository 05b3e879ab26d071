package qemu_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

// What package disk's guest writes: see disk/guest_test.go.
const (
	guestSlots  = 4096
	recordSize  = 4096
	recordsFrom = 1 << 20
	guestDisk   = 64 << 20
)

// bootSector is that guest for so many disks, on a machine of some MiB.
func bootSector(t testing.TB, mib, disks int) []byte {
	t.Helper()
	boot, err := os.ReadFile("disk/testdata/guest.bin")
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(boot[0x1a4:], guestSlots-1)
	binary.LittleEndian.PutUint32(boot[0x1a8:], 4096)
	binary.LittleEndian.PutUint32(boot[0x1ac:], uint32(mib-4)<<20)
	boot[0x1b0] = 0x80 + byte(disks)
	return boot
}

// diskFile is one disk of a diskMachine.
type diskFile struct{ path, format string }

// diskMachine is a machine that boots package disk's guest, which writes
// numbered records to its disks and dirties its memory between them. Each kind
// is one disk, in images/ below the machine's directory.
func diskMachine(t testing.TB, mib int, kinds ...string) (*machine, []diskFile) {
	t.Helper()
	needRoot(t)
	m := &machine{dir: t.TempDir()}
	m.qmp, m.second, m.output = filepath.Join(m.dir, "qmp"), filepath.Join(m.dir, "second"), filepath.Join(m.dir, "out")
	images := filepath.Join(m.dir, "images")
	if err := os.Mkdir(images, 0o755); err != nil {
		t.Fatal(err)
	}
	m.args = []string{
		"-machine", "q35", "-accel", "tcg", "-m", fmt.Sprint(mib), "-nodefaults", "-display", "none",
		"-chardev", "file,id=out,path=" + m.output + ",append=on",
		"-device", "isa-debugcon,iobase=0xe9,chardev=out",
		"-qmp", "unix:" + m.qmp + ",server=on,wait=off",
		"-qmp", "unix:" + m.second + ",server=on,wait=off",
	}
	var files []diskFile
	for i, kind := range kinds {
		f := diskFile{filepath.Join(images, fmt.Sprintf("d%d,%s.img", i, kind)), "qcow2"} // a comma on purpose
		var content []byte
		if i == 0 {
			content = bootSector(t, mib, len(kinds))
		}
		raw := filepath.Join(m.dir, "raw")
		if err := errors.Join(os.WriteFile(raw, content, 0o644), os.Truncate(raw, guestDisk)); err != nil {
			t.Fatal(err)
		}
		doubled := strings.ReplaceAll(f.path, ",", ",,")
		device := fmt.Sprintf("virtio-blk-pci,drive=n%d,bootindex=%d", i, i)
		switch kind {
		case "raw":
			f.format = "raw"
			m.args = append(m.args, "-blockdev", fmt.Sprintf(`{"driver":"raw","node-name":"n%d","file":{"driver":"file","filename":"%s"}}`, i, f.path))
		case "scsi":
			device = fmt.Sprintf("scsi-hd,bus=s%d.0,drive=n%d,bootindex=%d", i, i, i)
			m.args = append(m.args, "-device", fmt.Sprintf("virtio-scsi-pci,id=s%d", i),
				"-blockdev", fmt.Sprintf("driver=qcow2,node-name=n%d,file.driver=file,file.filename=%s", i, doubled))
		case "sata":
			device = fmt.Sprintf("ide-hd,drive=n%d,bootindex=%d", i, i)
			fallthrough
		case "virtio", "backed":
			m.args = append(m.args, "-drive", fmt.Sprintf("if=none,id=n%d,format=qcow2,file=%s", i, doubled))
		default:
			t.Fatal(kind)
		}
		m.args = append(m.args, "-device", device)
		target := f.path
		if kind == "backed" {
			target = filepath.Join(images, "base.qcow2")
		}
		run(t, "qemu-img", "convert", "-q", "-f", "raw", "-O", f.format, raw, target)
		if kind == "backed" {
			run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", target, "-F", "qcow2", f.path)
		}
		files = append(files, f)
	}
	return m, files
}

// stored keeps captured disks in memory, as a repository would, and releases
// them.
func stored(t testing.TB, disks []snapline.FrozenDisk) []snapline.StoredDisk {
	t.Helper()
	var all []snapline.StoredDisk
	for i, d := range disks {
		s := snapline.StoredDisk{DiskSnapshot: snapline.DiskSnapshot{
			DiskInfo: d.Info(), Name: fmt.Sprintf("vm.%d", i), Object: snapline.Object{RawBytes: d.Info().Size},
		}}
		s.Extents = inMemory(t, d.Extents(testContext(t)), d.Info().Size)
		if b := d.Backing(); b != nil {
			sum, err := b.Digest(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			s.Backing = &snapline.BackingSnapshot{DiskInfo: b.Info(), Name: "base", Digest: sum, Object: snapline.Object{RawBytes: b.Info().Size}}
			s.BackingExtents = inMemory(t, b.Extents(testContext(t)), b.Info().Size)
		}
		all = append(all, s)
	}
	releaseAll(t, disks)
	return all
}

func inMemory(t testing.TB, extents iter.Seq2[snapline.Extent, error], size int64) func(context.Context) iter.Seq2[snapline.Extent, error] {
	t.Helper()
	var all []snapline.Extent
	for e, err := range extents {
		if err != nil {
			t.Fatal(err)
		}
		if e.Offset%snapline.PageSize != 0 || e.Length%snapline.PageSize != 0 && e.Offset+e.Length != size {
			t.Errorf("extent at %d of %d bytes is not whole pages", e.Offset, e.Length)
		}
		e.Data = bytes.Clone(e.Data)
		all = append(all, e)
	}
	return func(context.Context) iter.Seq2[snapline.Extent, error] {
		return func(yield func(snapline.Extent, error) bool) {
			for _, e := range all {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func snapshots(disks []snapline.StoredDisk) []snapline.DiskSnapshot {
	var all []snapline.DiskSnapshot
	for _, d := range disks {
		all = append(all, d.DiskSnapshot)
	}
	return all
}

// content is what a disk reads as, also while a VM has it open.
func (f diskFile) content(t testing.TB) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	run(t, "qemu-img", "convert", "-q", "-U", "-f", f.format, "-O", "raw", f.path, raw)
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(raw)
	return b
}

// records reads the number in each slot.
func (f diskFile) records(t testing.TB) []uint32 {
	t.Helper()
	b := f.content(t)
	all := make([]uint32, guestSlots)
	for i := range all {
		record := b[recordsFrom+i*recordSize:][:recordSize]
		all[i] = binary.LittleEndian.Uint32(record)
		if !bytes.Equal(record[:4], record[recordSize-4:]) {
			t.Errorf("%s: record %d is torn", f.path, all[i])
		}
	}
	return all
}

// checkInstant wants a disk to hold just what the guest had written when its
// next record in memory was that: nothing less, and nothing later.
func (f diskFile) checkInstant(t testing.TB, next uint32) {
	t.Helper()
	for slot, got := range f.records(t) {
		last := next - 1
		want := last - (last-uint32(slot))%guestSlots
		if want > last || want == 0 { // before the first round
			want = 0
		}
		underWay := got == next && next%guestSlots == uint32(slot) // written, not yet counted
		if got != want && !underWay {
			t.Fatalf("%s: slot %d holds record %d, want %d at the instant before record %d", f.path, slot, got, want, next)
		}
	}
}

func (f diskFile) newest(t testing.TB) uint32 {
	t.Helper()
	return slices.Max(f.records(t))
}

// leaksOnly is the exit status of "qemu-img check" for clusters that nothing
// refers to, which a QEMU that is killed leaves; nothing else is wrong then.
const leaksOnly = 3

// checkSound has qemu-img look at a file that a killed QEMU has written to.
func (f diskFile) checkSound(t testing.TB) {
	t.Helper()
	if f.format != "qcow2" {
		return
	}
	cmd := exec.Command("qemu-img", "check", "-q", "-f", "qcow2", f.path)
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != leaksOnly {
		t.Errorf("%s: %v: %s", f.path, err, out)
	}
}

// checkClean wants not even that, of a file that nobody has written to yet.
func (f diskFile) checkClean(t testing.TB) {
	t.Helper()
	if f.format == "qcow2" {
		run(t, "qemu-img", "check", "-q", "-U", "-f", "qcow2", f.path)
	}
}
