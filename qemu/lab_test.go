package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
	"go.uber.org/goleak"
)

// TestMain runs the guard, and the victims of crash tests, in this same
// program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "guard":
			if err := qemu.Guard(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		case "victim":
			if err := victim(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	goleak.VerifyTestMain(m)
}

// machine is a QEMU that a user has started by hand.
type machine struct {
	dir, qmp, output string
	second           string // another monitor, for the test itself
	host             string // network namespace; empty: our own
	uid              uint32 // user to run as
	args             []string
	cmd              *exec.Cmd
}

func (m *machine) member() snapline.Member {
	return snapline.Member{Name: "vm", Host: "h1", QEMU: &snapline.QEMU{QMP: m.qmp}}
}

// guestMachine describes a machine of some MiB that runs the writing guest.
func guestMachine(t testing.TB, mib uint32, extra ...string) *machine {
	t.Helper()
	needRoot(t)
	m := &machine{dir: t.TempDir()}
	m.qmp = filepath.Join(m.dir, "qmp")
	m.second = filepath.Join(m.dir, "second")
	m.output = filepath.Join(m.dir, "out")
	kernel := buildGuest(t, m.dir, (mib-2)<<20, 64)
	m.args = append([]string{
		"-machine", "q35", "-accel", "tcg", "-m", fmt.Sprint(mib), "-nodefaults", "-display", "none",
		"-kernel", kernel,
		"-chardev", "file,id=out,path=" + m.output + ",append=on",
		"-device", "isa-debugcon,iobase=0xe9,chardev=out",
		"-qmp", "unix:" + m.qmp + ",server=on,wait=off",
		"-qmp", "unix:" + m.second + ",server=on,wait=off",
	}, extra...)
	return m
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("VM tests need root: run them with sudo")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatal("qemu-system-x86_64 is missing: make deps")
	}
}

// start runs the machine until the test's end.
func (m *machine) start(t testing.TB) {
	t.Helper()
	words := append([]string{"qemu-system-x86_64"}, m.args...)
	if m.host != "" {
		words = append([]string{"ip", "netns", "exec", m.host}, words...)
	}
	m.cmd = exec.Command(words[0], words[1:]...)
	m.cmd.Dir = m.dir
	if m.uid != 0 {
		m.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: m.uid, Gid: m.uid}}
	}
	log, err := os.Create(filepath.Join(m.dir, "qemu.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill()
		if b, _ := os.ReadFile(log.Name()); len(b) > 0 && t.Failed() {
			t.Logf("QEMU printed: %s", b)
		}
	})
	// QEMU listens on the second monitor after the first.
	eventually(t, "QMP socket", func() bool {
		c, err := net.Dial("unix", m.second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// startWriting starts it and waits until the guest has begun to write.
func (m *machine) startWriting(t testing.TB) {
	t.Helper()
	m.start(t)
	m.awaitSweep(t, 1)
}

// awaitSweep waits until the guest has printed a sweep above n.
func (m *machine) awaitSweep(t testing.TB, n uint64) uint64 {
	t.Helper()
	var last uint64
	eventually(t, fmt.Sprintf("sweep above %d", n), func() bool {
		last = readGuest(t, m.output).last()
		return last > n
	})
	return last
}

func (m *machine) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// testContext ends with the test, and before the whole run's time is up, so
// that a QEMU that does not answer fails one test and is cleaned up.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func hypervisor(t testing.TB, o qemu.Options) *qemu.Hypervisor {
	t.Helper()
	if o.LogDir == "" {
		o.LogDir = t.TempDir()
	}
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	h, err := qemu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func adopt(t testing.TB, h *qemu.Hypervisor, m *machine) snapline.VM {
	t.Helper()
	vm, err := h.Adopt(testContext(t), m.member())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Close() })
	return vm
}

// capture takes one whole snapshot.
func capture(t testing.TB, vm snapline.VM, spool string) (snapline.CaptureReport, snapline.Spooled) {
	t.Helper()
	c, err := vm.Prime(testContext(t), spool)
	if err != nil {
		t.Fatal(err)
	}
	report, err := c.Cut(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.Finish(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return report, done
}

// load starts a machine from a spool; the test's end kills it.
func load(t testing.TB, h *qemu.Hypervisor, m *machine, info snapline.VMInfo, spool string, disks ...snapline.StoredDisk) snapline.VM {
	t.Helper()
	f, err := os.Open(spool)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	vm, err := h.Load(testContext(t), m.member(), info, f, disks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(h.Stop(ctx, m.member(), nil), vm.Close()); err != nil {
			t.Error(err)
		}
	})
	return vm
}

func status(t testing.TB, vm snapline.VM) string {
	t.Helper()
	st, err := vm.Status(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// eventually polls until ok. The budget is that of a guest's boot under
// software emulation on a busy two-core machine, a hundred times over.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
