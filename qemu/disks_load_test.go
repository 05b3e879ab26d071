package qemu_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
	"github.com/snapline/snapline/qemu/disk"
)

// taken is a captured machine that is dead now.
type taken struct {
	machine *machine
	info    snapline.VMInfo
	spool   string
	disks   []snapline.StoredDisk
	next    uint32 // the guest's next record at the instant
}

// take captures a machine with disks, lets it write on, and kills it.
func take(t testing.TB, h *qemu.Hypervisor, m *machine) taken {
	t.Helper()
	vm := adopt(t, h, m)
	if r := vm.Problems(testContext(t)); len(r) > 0 {
		t.Fatal(r)
	}
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	_, done := capture(t, vm, filepath.Join(m.dir, "g-1-vm"))
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	c := taken{m, vm.Info(), done.Path, stored(t, done.Disks), nextRecord(t, done.Path)}
	m.awaitSweep(t, m.awaitSweep(t, 0)+20)
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Fatal(err)
	}
	<-vm.Gone()
	m.cmd.Wait()
	vm.Close()
	return c
}

// run lets a loaded machine go on, and wants it to do so from the instant.
func (c taken) run(t testing.TB, vm snapline.VM) {
	t.Helper()
	if err := os.Truncate(c.machine.output, 0); err != nil {
		t.Fatal(err)
	}
	if err := vm.Resume(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.machine.awaitSweep(t, uint64(c.next)+20)
	if first := readGuest(t, c.machine.output).sweeps[0]; first+1 < uint64(c.next) || first > uint64(c.next)+1 {
		t.Errorf("it goes on with record %d, its memory had %d", first, c.next)
	}
}

// TestRestoreDisks takes machines with disks of all kinds to other directories.
func TestRestoreDisks(t *testing.T) {
	for name, kinds := range map[string][]string{
		"virtio": {"virtio"}, "raw": {"raw"}, "scsi": {"scsi"}, "sata": {"sata"}, "backed": {"backed"},
		"several": {"virtio", "raw", "backed", "scsi"},
	} {
		t.Run(name, func(t *testing.T) {
			m, files := diskMachine(t, 64, kinds...)
			m.startWriting(t)
			c := take(t, hypervisor(t, qemu.Options{}), m)
			was := map[string][]byte{}
			for _, f := range files {
				was[f.path] = f.content(t)
			}
			there := filepath.Join(m.dir, "there,2")
			if err := os.Mkdir(there, 0o755); err != nil {
				t.Fatal(err)
			}
			h := hypervisor(t, qemu.Options{DiskDirs: map[string]string{filepath.Join(m.dir, "images"): there, m.dir: "/nowhere"}})
			if r := h.Plan(testContext(t), m.member(), c.info, snapshots(c.disks)); len(r) > 0 {
				t.Fatal(r)
			}
			vm := load(t, h, m, c.info, c.spool, c.disks...)
			var moved []diskFile
			for _, f := range files {
				moved = append(moved, diskFile{filepath.Join(there, filepath.Base(f.path)), f.format})
			}
			for _, f := range moved {
				f.checkClean(t)
				f.checkInstant(t, c.next)
			}
			c.run(t, vm)
			if r := vm.Problems(testContext(t)); len(r) > 0 {
				t.Error(r)
			}
			again, done := capture(t, vm, filepath.Join(m.dir, "g-2-vm")) // a restored machine is like any other
			t.Logf("second capture %+v", again)
			releaseAll(t, done.Disks)
			if err := h.Stop(testContext(t), m.member(), nil); err != nil {
				t.Fatal(err)
			}
			for i, f := range moved {
				f.checkSound(t)
				if n := f.newest(t); n < c.next+19 {
					t.Errorf("%s: newest record is %d", f.path, n)
				}
				if !bytes.Equal(was[files[i].path], files[i].content(t)) {
					t.Errorf("%s was written to", files[i].path)
				}
			}
		})
	}
}

// TestRestoreInPlace replaces a machine's own disks: Kill puts them back, also
// after a first run, and Close gives them up.
func TestRestoreInPlace(t *testing.T) {
	m, files := diskMachine(t, 64, "backed", "raw")
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{})
	c := take(t, h, m)
	before := make([][]byte, len(files))
	for i, f := range files {
		before[i] = f.content(t)
	}
	unchanged := func(when string) {
		t.Helper()
		for i, f := range files {
			if !bytes.Equal(before[i], f.content(t)) {
				t.Errorf("%s: %s is not what it was", when, f.path)
			}
			if _, err := os.Stat(disk.KeptPath(f.path)); err == nil {
				t.Errorf("%s: %s is left", when, disk.KeptPath(f.path))
			}
		}
	}
	for _, run := range []bool{false, true} {
		vm := load(t, h, m, c.info, c.spool, c.disks...)
		for _, f := range files {
			f.checkInstant(t, c.next)
			if st, err := os.Stat(f.path); err != nil || st.Mode().Perm() != 0o644 {
				t.Errorf("%s: %v, %v", f.path, st.Mode(), err)
			}
		}
		if run {
			c.run(t, vm)
		}
		for range 2 {
			if err := vm.Kill(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		vm.Close()
		unchanged("after Kill")
	}

	bad := c.info
	bad.Args = append(append([]string{}, bad.Args...), "-device", "no-such-device")
	if _, err := h.Load(testContext(t), m.member(), bad, open(t, c.spool), c.disks); err == nil {
		t.Error("loaded with a bad option")
	}
	unchanged("after a failed Load")

	vm := load(t, h, m, c.info, c.spool, c.disks...)
	c.run(t, vm)
	vm.Close()
	for _, f := range files {
		if _, err := os.Stat(disk.KeptPath(f.path)); err == nil {
			t.Errorf("after Close: %s is left", disk.KeptPath(f.path))
		}
	}
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.checkSound(t)
	}
	if left, _ := filepath.Glob(filepath.Join(m.dir, "images", ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func open(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestRestoreOverUsedDisk wants a disk that a stranger has open to be left
// alone.
func TestRestoreOverUsedDisk(t *testing.T) {
	m, files := diskMachine(t, 64, "virtio")
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{})
	c := take(t, h, m)
	other := *m // the same disk under another monitor
	other.qmp, other.second = filepath.Join(m.dir, "qmp2"), filepath.Join(m.dir, "second2")
	other.args = nil
	for _, a := range m.args {
		a = strings.ReplaceAll(a, "unix:"+m.qmp+",", "unix:"+other.qmp+",")
		other.args = append(other.args, strings.ReplaceAll(a, "unix:"+m.second+",", "unix:"+other.second+","))
	}
	other.startWriting(t)
	r := h.Plan(testContext(t), m.member(), c.info, snapshots(c.disks))
	if len(r) != 1 || !strings.Contains(r[0].Text, "in use by process") {
		t.Errorf("plan: %v", r)
	}
	_, err := h.Load(testContext(t), m.member(), c.info, open(t, c.spool), c.disks)
	if err == nil || !strings.Contains(err.Error(), disk.ErrInUse.Error()) {
		t.Errorf("load: %v", err)
	}
	other.awaitSweep(t, other.awaitSweep(t, 0)+20)
	other.kill()
	files[0].checkSound(t)
	if r := h.Plan(testContext(t), m.member(), c.info, snapshots(c.disks)); len(r) > 0 {
		t.Errorf("plan: %v", r)
	}
}

// TestRestoreFlash takes a machine with the writable flash memory that UEFI
// keeps its variables in: a disk like any other.
func TestRestoreFlash(t *testing.T) {
	m, files := diskMachine(t, 64, "virtio")
	flash := diskFile{filepath.Join(m.dir, "images", "vars.fd"), "raw"}
	if err := os.WriteFile(flash.path, bytes.Repeat([]byte("variable"), 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	m.args = append(m.args, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/seabios/bios-256k.bin",
		"-drive", "if=pflash,unit=1,format=raw,file="+flash.path)
	m.startWriting(t)
	c := take(t, hypervisor(t, qemu.Options{}), m)
	if len(c.disks) != 2 {
		t.Fatalf("disks: %+v", snapshots(c.disks))
	}
	want := flash.content(t)
	there := t.TempDir()
	h := hypervisor(t, qemu.Options{DiskDirs: map[string]string{filepath.Join(m.dir, "images"): there}})
	if r := h.Plan(testContext(t), m.member(), c.info, snapshots(c.disks)); len(r) > 0 {
		t.Fatal(r)
	}
	vm := load(t, h, m, c.info, c.spool, c.disks...)
	diskFile{filepath.Join(there, filepath.Base(files[0].path)), "qcow2"}.checkInstant(t, c.next)
	c.run(t, vm)
	if moved := (diskFile{filepath.Join(there, "vars.fd"), "raw"}); !bytes.Equal(moved.content(t), want) {
		t.Error("the flash memory differs")
	}
	_, done := capture(t, vm, filepath.Join(m.dir, "again"))
	releaseAll(t, done.Disks)
}
