package qemu_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
)

func TestPlan(t *testing.T) {
	host := newHost(t, "br0")
	h := hypervisor(t, qemu.Options{NetNS: host})
	dir := t.TempDir()
	program, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	member := snapline.Member{Name: "vm", QEMU: &snapline.QEMU{QMP: filepath.Join(dir, "qmp")}}
	good := snapline.VMInfo{
		Hypervisor: "qemu", Version: "5.2.0", Exec: program, Dir: dir, Machine: "pc-q35-7.2", Accel: "tcg",
		RAMBytes: 64 << 20, UID: os.Geteuid(), GID: os.Getegid(),
		Args: []string{"-machine", "q35", "-cpu", "qemu64,+rdrand", "-netdev", "tap,id=n0"},
		NICs: []snapline.NIC{{ID: "n0", Tap: "t0", Bridge: "br0", Backend: "tap"}},
	}
	if r := h.Plan(testContext(t), member, good, nil); len(r) > 0 {
		t.Errorf("nothing is wrong, but: %v", r)
	}
	for name, c := range map[string]struct {
		break_ func(*snapline.VMInfo)
		want   string
	}{
		"program elsewhere": {func(i *snapline.VMInfo) { i.Exec = "/opt/qemu/bin/qemu-system-x86_64" }, ""},
		"no program":        {func(i *snapline.VMInfo) { i.Exec = "/opt/qemu/bin/qemu-system-none" }, "no qemu-system-none in PATH"},
		"newer QEMU":        {func(i *snapline.VMInfo) { i.Version = "99.0.1" }, "it was captured from 99.0.1"},
		"machine type":      {func(i *snapline.VMInfo) { i.Machine = "pc-q35-99.0" }, "machine type pc-q35-99.0"},
		"accelerator":       {func(i *snapline.VMInfo) { i.Accel = "hvf" }, "no accelerator hvf"},
		"CPU model":         {func(i *snapline.VMInfo) { i.Args = []string{"-cpu", "NoSuchLake-v9"} }, "CPU model NoSuchLake-v9"},
		"bridge":            {func(i *snapline.VMInfo) { i.NICs[0].Bridge = "br7" }, "no bridge br7"},
		"not a bridge":      {func(i *snapline.VMInfo) { i.NICs[0].Bridge = "lo" }, "not a bridge"},
		"kernel":            {func(i *snapline.VMInfo) { i.Args = []string{"-kernel", "vmlinuz"} }, "no file " + dir + "/vmlinuz (-kernel)"},
		"pidfile":           {func(i *snapline.VMInfo) { i.Args = []string{"-pidfile", "/nowhere/pid"} }, "no directory /nowhere"},
		"directory":         {func(i *snapline.VMInfo) { i.Dir = "/nowhere" }, "no working directory /nowhere"},
		"memory":            {func(i *snapline.VMInfo) { i.RAMBytes = 1 << 50 }, "of memory are available"},
		"descriptor":        {func(i *snapline.VMInfo) { i.Args = []string{"-add-fd", "fd=3,set=1"} }, "handed over"},
		"hypervisor":        {func(i *snapline.VMInfo) { i.Hypervisor = "xen" }, `captured from "xen"`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.NICs = append([]snapline.NIC{}, good.NICs...)
			c.break_(&bad)
			var text string
			for _, r := range h.Plan(testContext(t), member, bad, nil) {
				text += r.String() + "\n"
			}
			if c.want == "" && text != "" || !strings.Contains(text, c.want) {
				t.Errorf("want %q, got:\n%s", c.want, text)
			}
		})
	}
}

// TestPlanSharedSocket plans for a member that runs on another host which sees
// the same file system: that host stops it, and only that one can.
func TestPlanSharedSocket(t *testing.T) {
	host := newHost(t, "br0")
	m := guestMachine(t, 64)
	m.start(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	h := hypervisor(t, qemu.Options{NetNS: host})
	if r := h.Plan(testContext(t), m.member(), vm.Info(), nil); len(r) != 0 {
		t.Errorf("plan %v", r)
	}
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Error(err)
	}
	if st := status(t, vm); st != "running" {
		t.Errorf("Stop on another host: it is %s", st)
	}
}

// TestProbeAccel believes only a guest that has run.
func TestProbeAccel(t *testing.T) {
	needRoot(t)
	t.Setenv(qemu.AccelVariable, "")
	accel, err := qemu.ProbeAccel(testContext(t), "qemu-system-x86_64")
	if err != nil || accel != "kvm" && accel != "tcg" {
		t.Errorf("%q, %v", accel, err)
	}
	t.Logf("%s", accel)
	if ok, err := qemu.Boots(testContext(t), "qemu-system-x86_64", "tcg"); !ok || err != nil {
		t.Errorf("the probe's guest does not boot under tcg: %v, %v", ok, err)
	}
	t.Setenv(qemu.AccelVariable, "kvm")
	if accel, err := qemu.ProbeAccel(testContext(t), "none"); err != nil || accel != "kvm" {
		t.Errorf("override: %q, %v", accel, err)
	}
	t.Setenv(qemu.AccelVariable, "yes")
	if _, err := qemu.ProbeAccel(testContext(t), "none"); err == nil {
		t.Error("bad override: no error")
	}
}
