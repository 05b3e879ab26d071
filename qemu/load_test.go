package qemu_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
)

// networked is a machine on a host with all the ways of having a NIC.
func networked(t *testing.T, host string) *machine {
	t.Helper()
	m := guestMachine(t, 64,
		"-netdev", "tap,id=n0,ifname=qta0,script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=n0,mac=52:54:00:aa:00:01,romfile=",
		"-nic", "tap,ifname=qta1,script=no,downscript=no,model=e1000,mac=52:54:00:aa:00:02",
		"-netdev", "tap,id=n2,ifname=qta2,script=no,downscript=no,queues=2,vhost=off",
		"-device", "virtio-net-pci,netdev=n2,mq=on,vectors=6,romfile=",
	)
	m.host = host
	m.startWriting(t)
	for _, tap := range []string{"qta0", "qta1", "qta2"} {
		run(t, "ip", "-n", host, "link", "set", tap, "master", "br0", "up")
	}
	return m
}

// TestRestoreElsewhere takes a machine from one host to another, whose bridge
// has another name and where a tap's name is taken, and back again.
func TestRestoreElsewhere(t *testing.T) {
	h1, h2 := newHost(t, "br0"), newHost(t, "br9")
	run(t, "ip", "-n", h2, "link", "add", "qta0", "type", "bridge")
	here := hypervisor(t, qemu.Options{NetNS: h1, Bridges: map[string]string{"br9": "br0"}})
	there := hypervisor(t, qemu.Options{NetNS: h2, Bridges: map[string]string{"br0": "br9"}})
	m := networked(t, h1)
	if _, err := there.Adopt(testContext(t), m.member()); err == nil || !strings.Contains(err.Error(), "belongs to another network namespace") {
		t.Errorf("adopted from the wrong host: %v", err)
	}
	vm := adopt(t, here, m)
	want := []snapline.NIC{
		{ID: "#", Tap: "qta1", Bridge: "br0", MAC: "52:54:00:aa:00:02", Backend: "tap"},
		{ID: "n0", Tap: "qta0", Bridge: "br0", MAC: "52:54:00:aa:00:01", Backend: "tap"},
		{ID: "n2", Tap: "qta2", Bridge: "br0", MAC: "52:54:00:12:34:56", Backend: "tap"},
	}
	got := anonymous(vm.Info().NICs)
	for i := range got {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", got[i].Reader))
		if err != nil || !strings.Contains(exe, "qemu") {
			t.Errorf("%s is read by process %d, %q (%v)", got[i].Tap, got[i].Reader, exe, err)
		}
		got[i].Reader = 0
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("NICs (-want +got):\n%s", d)
	}
	if r := vm.Problems(testContext(t)); len(r) > 0 {
		t.Errorf("problems: %v", r)
	}
	spool := filepath.Join(m.dir, "spool")
	before := m.awaitSweep(t, 0)
	capture(t, vm, spool)
	info := vm.Info()
	if err := vm.Kill(testContext(t)); err != nil {
		t.Fatal(err)
	}
	m.cmd.Wait()
	if r := there.Plan(testContext(t), m.member(), info, nil); len(r) > 0 {
		t.Errorf("plan: %v", r)
	}
	ears := sniff(t, h2)
	moved := load(t, there, m, info, spool)
	nics := anonymous(moved.Info().NICs)
	if nics[0].Tap != "qta1" || nics[1].Tap == "qta0" || nics[2].Tap != "qta2" {
		t.Errorf("NICs there: %+v", nics)
	}
	for i := range nics {
		if nics[i].MAC != want[i].MAC || links(t, h2)[nics[i].Tap] != "br9" {
			t.Errorf("NIC there: %+v, bridge %q", nics[i], links(t, h2)[nics[i].Tap])
		}
	}
	<-soon()
	if n := ears.from(want[1].MAC); n != 0 {
		t.Errorf("%d frames from a VM that has not been resumed", n)
	}
	if err := moved.Resume(testContext(t)); err != nil {
		t.Fatal(err)
	}
	m.awaitSweep(t, before)
	if err := moved.Announce(testContext(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "announcement", func() bool { return ears.from(want[1].MAC) > 0 })

	capture(t, moved, spool)
	second := moved.Info()
	if err := there.Stop(testContext(t), m.member(), nil); err != nil {
		t.Fatal(err)
	}
	for name := range links(t, h2) {
		if strings.HasPrefix(name, "qta") && name != "qta0" || strings.HasPrefix(name, "vm") {
			t.Errorf("tap %s is left", name)
		}
	}
	back := load(t, here, m, second, spool)
	if nic := anonymous(back.Info().NICs)[2]; nic.Tap != "qta2" || nic.Bridge != "br0" || nic.MAC != want[2].MAC {
		t.Errorf("NIC back home: %+v", nic)
	}
}

// anonymous makes ids that QEMU invents comparable.
func anonymous(nics []snapline.NIC) []snapline.NIC {
	for i := range nics {
		if strings.HasPrefix(nics[i].ID, "#") {
			nics[i].ID = "#"
		}
	}
	return nics
}

// TestLoadFails gives Load streams that are no good: the error says why, and
// nothing is left.
func TestLoadFails(t *testing.T) {
	host := newHost(t, "br0")
	h := hypervisor(t, qemu.Options{NetNS: host})
	m := networked(t, host)
	vm := adopt(t, h, m)
	spool := filepath.Join(m.dir, "spool")
	capture(t, vm, spool)
	info := vm.Info()
	m.kill()
	if err := os.Remove(m.qmp); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(spool)
	if err != nil {
		t.Fatal(err)
	}
	damaged := errors.New("damaged")
	for name, c := range map[string]struct {
		stream io.Reader
		args   []string
		want   string
	}{
		"cut short": {bytes.NewReader(whole[:len(whole)/2]), nil, "migration failed"},
		"nothing":   {bytes.NewReader(nil), nil, "shorter than its header"},
		"garbage":   {strings.NewReader(strings.Repeat("garbage ", 1000)), nil, "begins with"},
		// the digest of a stream is only known at its end
		"damaged at the end": {io.MultiReader(bytes.NewReader(whole), errReader{damaged}), nil, "damaged"},
		"damaged at once":    {errReader{damaged}, nil, "damaged"},
		"bad option":         {bytes.NewReader(whole), []string{"-device", "no-such-device"}, "no-such-device"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := info
			bad.Args = append(append([]string{}, info.Args...), c.args...)
			_, err := h.Load(testContext(t), m.member(), bad, c.stream, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if n := len(links(t, host)); n != 2 {
				t.Errorf("interfaces left: %v", links(t, host))
			}
			if _, err := os.Stat(m.qmp); !os.IsNotExist(err) {
				t.Errorf("QMP socket: %v", err)
			}
		})
	}
	load(t, h, m, info, spool) // and the good one still works
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
