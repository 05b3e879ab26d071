package qemu_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
	"github.com/snapline/snapline/qemu/qmp"
)

func TestAdoptRefuses(t *testing.T) {
	dir := t.TempDir()
	h := hypervisor(t, qemu.Options{})
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	foreign := filepath.Join(dir, "foreign")
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: foreign})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		"":                         "no QMP socket given",
		"relative":                 "absolute path",
		filepath.Join(dir, "none"): "does not exist: the VM is not running",
		file:                       "is not a socket",
		dead:                       "the VM is not running",
		foreign:                    "not a QEMU",
	} {
		m := snapline.Member{Name: "vm", QEMU: &snapline.QEMU{QMP: path}}
		if _, err := h.Adopt(testContext(t), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
	if _, err := h.Adopt(testContext(t), snapline.Member{Name: "vm"}); err == nil {
		t.Error("member without a QEMU: no error")
	}
}

// TestAdoptBusy finds the monitor in use.
func TestAdoptBusy(t *testing.T) {
	m := guestMachine(t, 64)
	m.start(t)
	c, err := qmp.Dial(testContext(t), m.qmp)
	if err != nil {
		t.Fatal(err)
	}
	h := hypervisor(t, qemu.Options{})
	want := "QMP socket " + m.qmp + " is in use by another client; give Snapline a -qmp socket of its own"
	if _, err := h.Adopt(testContext(t), m.member()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	c.Close()
	adopt(t, h, m)
}

// TestAdoptWithoutSocket: a machine whose socket somebody has removed is not gone.
func TestAdoptWithoutSocket(t *testing.T) {
	m := guestMachine(t, 64)
	m.start(t)
	h := hypervisor(t, qemu.Options{})
	adopt(t, h, m).Close()
	if err := os.Remove(m.qmp); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Adopt(testContext(t), m.member()); err == nil || errors.Is(err, snapline.ErrNoVM) || !strings.Contains(err.Error(), "lives, but the socket is gone") {
		t.Errorf("without its socket: %v", err)
	}
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Adopt(testContext(t), m.member()); !errors.Is(err, snapline.ErrNoVM) {
		t.Errorf("when it has ended: %v", err)
	}
}

func TestAdoptDescribes(t *testing.T) {
	m := guestMachine(t, 64, "-smp", "2", "-netdev", "user,id=u0", "-device", "e1000,netdev=u0,mac=52:54:00:aa:00:09,id=card")
	m.start(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	if got := vm.(*qemu.VM).Threads(); !strings.Contains(got, "qemu-system") || strings.Contains(got, "\n") {
		t.Errorf("threads: %s", got)
	}
	info := vm.Info()
	if info.Machine == "q35" || !strings.HasPrefix(info.Machine, "pc-q35-") {
		t.Errorf("machine %q: the alias must be resolved", info.Machine)
	}
	if info.Hypervisor != "qemu" || info.Accel != "tcg" || info.RAMBytes != 64<<20 || info.VCPUs != 2 {
		t.Errorf("%+v", info)
	}
	if !slices.Equal(info.Args, m.args) || !filepath.IsAbs(info.Exec) || info.Dir != m.dir || info.UID != os.Geteuid() {
		t.Errorf("%+v", info)
	}
	for _, kv := range info.Env {
		if name, _, _ := strings.Cut(kv, "="); strings.Contains(name, "TOKEN") || strings.Contains(name, "SECRET") {
			t.Errorf("environment has %s", name)
		}
	}
	want := snapline.NIC{ID: "u0", MAC: "52:54:00:aa:00:09", Backend: "user"}
	if len(info.NICs) != 1 || info.NICs[0] != want {
		t.Errorf("NICs %+v", info.NICs)
	}
}

func TestProblems(t *testing.T) {
	m := guestMachine(t, 64)
	disk, media, vars := filepath.Join(m.dir, "disk"), filepath.Join(m.dir, "media"), filepath.Join(m.dir, "vars")
	for _, path := range []string{disk, media, vars} {
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.args = append(m.args,
		"-drive", "if=none,id=d0,format=raw,file="+disk, "-device", "virtio-blk-pci,drive=d0,id=disk0",
		"-drive", "if=none,id=d1,format=raw,readonly=on,file="+media, "-device", "virtio-blk-pci,drive=d1,id=disk1",
		"-blockdev", "driver=file,filename="+vars+",node-name=n2", "-device", "ide-hd,drive=n2,id=disk2",
		"-virtfs", "local,path="+m.dir+",mount_tag=share,security_model=none",
		"-device", "pcie-root-port,id=port0",
	)
	m.startWriting(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	watch := m.watch(t)
	hmp := func(line string) {
		t.Helper()
		if out, err := qmp.Run(testContext(t), watch.client, qmp.HMP{Line: line}); err != nil || out != "" {
			t.Fatalf("%s: %v %s", line, err, out)
		}
	}
	hmp("device_add virtio-rng-pci,id=late,bus=port0")
	hmp("stop")
	var all []string
	for _, r := range vm.Problems(testContext(t)) {
		if r.Member != "vm" {
			t.Errorf("member of %v", r)
		}
		all = append(all, r.Text)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"not running but paused", "device late was plugged in", "virtio-9p-pci"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, fine := range []string{disk, media, vars} {
		if strings.Contains(text, fine) {
			t.Errorf("%s reported:\n%s", fine, text)
		}
	}
}

// TestBlockedMigration has a device that cannot migrate.
func TestBlockedMigration(t *testing.T) {
	m := guestMachine(t, 64, "-device", "ivshmem-plain,memdev=shared,master=off",
		"-object", "memory-backend-ram,id=shared,size=1M,share=on")
	m.startWriting(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	r := vm.Problems(testContext(t))
	if len(r) != 1 || !strings.Contains(r[0].Text, "state cannot be saved") {
		t.Errorf("problems %v", r)
	}
	if _, err := vm.Prime(testContext(t), filepath.Join(m.dir, "spool")); err == nil {
		t.Error("primed")
	}
	if st := status(t, vm); st != "running" {
		t.Errorf("it is %s", st)
	}
}

// TestStop ends every instance, also one whose monitor is dead or not its own.
func TestStop(t *testing.T) {
	h := hypervisor(t, qemu.Options{})
	m := guestMachine(t, 64, "-nic", "user,mac=52:54:00:aa:00:0a")
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Errorf("nothing to stop: %v", err)
	}
	m.start(t)
	vm := adopt(t, h, m)
	for _, others := range [][]string{{}, {"52:54:00:aa:00:0b"}} {
		if err := h.Stop(testContext(t), m.member(), others); err != nil {
			t.Error(err)
		}
		if st, err := vm.Status(testContext(t)); err != nil || st != "running" {
			t.Fatalf("a machine with another address is %q, %v", st, err)
		}
	}
	if err := h.Stop(testContext(t), m.member(), []string{"52:54:00:aa:00:0b", "52:54:00:AA:00:0A"}); err != nil {
		t.Error(err)
	}
	<-vm.Gone()
	m.cmd.Wait()

	m.start(t)
	if err := os.Remove(m.qmp); err != nil { // only the command line tells now
		t.Fatal(err)
	}
	if err := h.Stop(testContext(t), m.member(), nil); err != nil {
		t.Error(err)
	}
	if st, err := m.cmd.Process.Wait(); err != nil || st.Exited() {
		t.Errorf("it ended with %v, %v", st, err)
	}
}
