package qemu_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
	"github.com/snapline/snapline/qemu/qmp"
)

// quit ends a QEMU in order: what it has cached is written.
type quit struct{}

func (quit) Command() string     { return "quit" }
func (quit) Returns(qmp.Nothing) {}

// TestReconcile kills the agent in each phase of a capture with disks. The next
// one finishes, whether the VM lives or has died with it, and no write of the
// guest is lost.
func TestReconcile(t *testing.T) {
	for _, phase := range []string{"primed", "disks-cut", "disks-finished", "disks-merging"} {
		for _, fate := range []string{"running", "dead"} {
			t.Run(phase+"-"+fate, func(t *testing.T) {
				m, files := diskMachine(t, 64, "virtio", "raw", "backed")
				m.startWriting(t)
				v := startVictim(t, m, phase)
				if phase == "disks-finished" {
					m.awaitSweep(t, m.awaitSweep(t, 0)+20)
				}
				if err := v.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				v.Wait()
				state := filepath.Join(m.dir, "state")
				h := hypervisor(t, qemu.Options{StateDir: state})
				if fate == "running" {
					m.awaitSweep(t, m.awaitSweep(t, 0)+20)
				} else {
					m.quit(t)
				}
				eventually(t, "everything is merged", func() bool {
					if err := h.Reconcile(testContext(t)); err != nil {
						t.Fatal(err)
					}
					left, _ := filepath.Glob(filepath.Join(state, "disks", "*.journal"))
					return len(left) == 0 // a guard may have had the monitor
				})
				if fate == "running" {
					vm := adopt(t, h, m)
					if r := vm.Problems(testContext(t)); len(r) > 0 {
						t.Errorf("problems: %v", r)
					}
					_, done := capture(t, vm, filepath.Join(m.dir, "again"))
					releaseAll(t, done.Disks)
					m.quit(t)
				}
				last := uint32(readGuest(t, m.output).last())
				for _, f := range files {
					if left, _ := filepath.Glob(f.path + ".*"); len(left) > 0 {
						t.Errorf("left: %v", left)
					}
					f.checkSound(t)
					for slot, got := range f.records(t) {
						want := last - (last-uint32(slot))%guestSlots
						if want <= last && got < want {
							t.Fatalf("%s: slot %d holds record %d, record %d was acknowledged", f.path, slot, got, want)
						}
					}
				}
			})
		}
	}
}

// quit ends the machine over its second monitor.
func (m *machine) quit(t testing.TB) {
	t.Helper()
	c, err := qmp.Dial(testContext(t), m.second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := qmp.Run(testContext(t), c, quit{}); err != nil {
		t.Fatal(err)
	}
	m.cmd.Wait()
}

// TestStateDirNeeded checks the options.
func TestStateDirNeeded(t *testing.T) {
	if _, err := qemu.New(qemu.Options{}); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("%v", err)
	}
	for _, dirs := range []map[string]string{{"a": "/b"}, {"/a": "b"}} {
		if _, err := qemu.New(qemu.Options{StateDir: t.TempDir(), DiskDirs: dirs}); err == nil {
			t.Errorf("%v: no error", dirs)
		}
	}
}

// TestAgentDiesAfterLoad loses the agent between Load and Resume: the next
// restore knows that the disk that is kept aside is the user's.
func TestAgentDiesAfterLoad(t *testing.T) {
	m, files := diskMachine(t, 64, "virtio")
	m.startWriting(t)
	o := qemu.Options{StateDir: t.TempDir()}
	h := hypervisor(t, o)
	c := take(t, h, m)
	mine := files[0].newest(t)
	load(t, h, m, c.info, c.spool, c.disks...).Close() // what is left when an agent dies
	h = hypervisor(t, o)
	if err := h.Reconcile(testContext(t)); err != nil {
		t.Error(err)
	}
	if r := h.Plan(testContext(t), m.member(), c.info, snapshots(c.disks)); len(r) > 0 {
		t.Errorf("plan: %v", r)
	}
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Fatal(err)
	}
	vm := load(t, h, m, c.info, c.spool, c.disks...)
	files[0].checkInstant(t, c.next)
	if err := vm.Kill(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if n := files[0].newest(t); n != mine {
		t.Errorf("newest record is %d, was %d before both restores", n, mine)
	}
}

// TestPlanDisks lists what is wrong with the places of disks.
func TestPlanDisks(t *testing.T) {
	needRoot(t)
	dir, small, readonly := t.TempDir(), smallDisk(t), smallDisk(t)
	if err := syscall.Mount("", readonly, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "create", "-q", "-f", "raw", filepath.Join(dir, "base"), "1M")
	d := func(id, path, format string, mib int64) snapline.DiskSnapshot {
		return snapline.DiskSnapshot{DiskInfo: snapline.DiskInfo{ID: id, Path: path, Format: format, Size: mib << 20}, Object: snapline.Object{RawBytes: mib << 20}}
	}
	backed := d("a", "/old/a", "qcow2", 5)
	backed.Backing = &snapline.BackingSnapshot{
		DiskInfo: snapline.DiskInfo{Path: "/base/b", Format: "raw", Size: 5 << 20}, Digest: strings.Repeat("0", 64), Object: snapline.Object{RawBytes: 5 << 20},
	}
	for name, c := range map[string]struct {
		dirs  map[string]string
		args  string
		disks []snapline.DiskSnapshot
		want  []string
	}{
		"fits":           {map[string]string{"/old": small}, "-hda /old/a", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 5)}, nil},
		"no directory":   {nil, "-hda /old/a -hdb /old/b", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 1), d("b", "/old/b", "raw", 1)}, []string{"no directory /old for disk a", "no directory /old for disk b"}},
		"read-only":      {map[string]string{"/old": readonly}, "-hda /old/a", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 1)}, []string{"read-only file system"}},
		"together":       {map[string]string{"/old": small}, "-hda /old/a -hdb /old/b", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 5), d("b", "/old/b", "raw", 5)}, []string{"its disks may take 10 MiB on the file system of " + small}},
		"with backing":   {map[string]string{"/old": small, "/base": small}, "-hda /old/a", []snapline.DiskSnapshot{backed}, []string{"its disks may take 10 MiB"}},
		"backing's room": {map[string]string{"/old": dir, "/base": small}, "-hda /old/a", []snapline.DiskSnapshot{backed}, nil},
		"other backing":  {map[string]string{"/old": dir, "/base/b": filepath.Join(dir, "base")}, "-hda /old/a", []snapline.DiskSnapshot{backed}, nil},
		"not named":      {map[string]string{"/old": dir}, "-readconfig /etc/hostname", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 1)}, []string{"not named on the command line"}},
		"same place":     {map[string]string{"/old": dir, "/two": dir}, "-hda /old/a -hdb /two/a", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 1), d("b", "/two/a", "raw", 1)}, []string{"disks a and b would both be"}},
		"a folder":       {map[string]string{"/old/a": filepath.Join(dir, "folder")}, "-hda /old/a", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 1)}, []string{"not a plain file"}},
		"format":         {map[string]string{"/old": dir}, "-hda /old/a", []snapline.DiskSnapshot{d("a", "/old/a", "vmdk", 1)}, []string{`format "vmdk"`}},
		"media":          {map[string]string{"/old": dir}, "-hda /old/a -cdrom /old/cd", []snapline.DiskSnapshot{d("a", "/old/a", "raw", 1)}, []string{"no file /old/cd (-cdrom)"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := hypervisor(t, qemu.Options{DiskDirs: c.dirs})
			info := snapline.VMInfo{
				Hypervisor: "qemu", Version: "5.2.0", Exec: "/usr/bin/qemu-system-x86_64", Dir: dir, Machine: "pc-q35-7.2", Accel: "tcg",
				RAMBytes: 64 << 20, UID: os.Geteuid(), GID: os.Getegid(), Args: strings.Fields(c.args),
			}
			m := snapline.Member{Name: "vm", QEMU: &snapline.QEMU{QMP: filepath.Join(dir, "qmp")}}
			var text string
			reasons := h.Plan(testContext(t), m, info, c.disks)
			for _, r := range reasons {
				text += r.String() + " [" + r.Hint + "]\n"
			}
			if len(reasons) != len(c.want) {
				t.Errorf("want %d reasons, got:\n%s", len(c.want), text)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("want %q, got:\n%s", want, text)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
				t.Errorf("Plan has changed something: %v", left)
			}
		})
	}
}
