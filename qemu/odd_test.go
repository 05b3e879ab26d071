package qemu_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/snapline/snapline/qemu"
	"golang.org/x/sys/unix"
)

// TestSharedMemory captures a machine whose memory is shared: newer kernels
// cover it by write protection, older ones do not. Either way the state is of
// one instant.
func TestSharedMemory(t *testing.T) {
	m := guestMachine(t, 64, "-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-machine", "memory-backend=ram")
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{})
	vm := adopt(t, h, m)
	low := m.awaitSweep(t, 0)
	report, done := capture(t, vm, filepath.Join(m.dir, "spool"))
	t.Logf("%+v", report)
	if report.Method == "stop-and-copy" && report.Why == "" {
		t.Error("stop-and-copy without a reason")
	}
	high := m.awaitSweep(t, m.awaitSweep(t, 0))
	info := vm.Info()
	m.kill()
	continueFrom(t, h, m, info, done, low, high)
}

// TestOtherUser captures and restores a machine of an unprivileged user, for
// whom there are no background snapshots.
func TestOtherUser(t *testing.T) {
	const nobody = 65534
	host := newHost(t, "br0")
	m := guestMachine(t, 64)
	if err := errors.Join(os.Chown(m.dir, nobody, nobody), os.Chmod(filepath.Dir(m.dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	m.uid = nobody
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{})
	vm := adopt(t, h, m)
	report, done := capture(t, vm, filepath.Join(m.dir, "spool"))
	if report.Method != "stop-and-copy" || !strings.Contains(report.Why, "not supported by host kernel") {
		t.Errorf("%+v: such a user has no userfaultfd that covers the kernel's writes", report)
	}
	info := vm.Info()
	if info.UID != nobody || info.GID != nobody {
		t.Errorf("%d:%d", info.UID, info.GID)
	}
	m.kill()
	// The restored one also gets a tap, which this user could not make.
	info.Args = append(info.Args, "-netdev", "tap,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile=")
	other := hypervisor(t, qemu.Options{NetNS: host})
	f, err := os.Open(done.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	restored, err := other.Load(testContext(t), m.member(), info, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := restored.Info()
	if got.UID != nobody || got.GID != nobody || len(got.NICs) != 1 || got.NICs[0].Tap == "" {
		t.Errorf("restored: %+v", got)
	}
	if err := restored.Kill(testContext(t)); err != nil {
		t.Error(err)
	}
	restored.Close()
}

// TestSpoolFull runs out of space in the middle of a capture.
func TestSpoolFull(t *testing.T) {
	for name, o := range map[string]qemu.Options{"live": {}, "stopped": {ForceStopAndCopy: "the test wants it"}} {
		t.Run(name, func(t *testing.T) {
			m := guestMachine(t, 128)
			m.startWriting(t)
			vm := adopt(t, hypervisor(t, o), m)
			spool := filepath.Join(smallDisk(t), "spool")
			c, err := vm.Prime(testContext(t), spool)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Cut(testContext(t))
			if err == nil {
				_, err = c.Finish(testContext(t))
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(spool); !os.IsNotExist(err) {
				t.Errorf("spool: %v", err)
			}
			if st := status(t, vm); st != "running" {
				t.Errorf("it is %s", st)
			}
			m.awaitSweep(t, m.awaitSweep(t, 0)+64)
		})
	}
}

// smallDisk is a directory with room for 8 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestPause keeps the VM still, and Resume twice is no error.
func TestPause(t *testing.T) {
	m := guestMachine(t, 64)
	m.startWriting(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	for range 2 { // the second one extends
		if err := vm.Pause(testContext(t), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if st := status(t, vm); st != "paused" {
		t.Errorf("it is %s", st)
	}
	if r := vm.Problems(testContext(t)); len(r) != 0 {
		t.Errorf("a pause of our own is no problem: %v", r)
	}
	for range 2 {
		if err := vm.Resume(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	m.awaitSweep(t, m.awaitSweep(t, 0))
	if err := vm.Pause(testContext(t), time.Hour); err != nil {
		t.Fatal(err)
	}
	vm.Close()
	m.awaitSweep(t, m.awaitSweep(t, 0)) // Close resumes what we have paused
	eventually(t, "guards end", func() bool { return len(guards(t)) == 0 })
}

// TestPausedCut is the barrier's way: pause, cut, and it runs again, with the
// instant where the pause began.
func TestPausedCut(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		t.Run(fmt.Sprintf("lazy-%v", lazy), func(t *testing.T) {
			m := guestMachine(t, 64)
			m.startWriting(t)
			h := hypervisor(t, qemu.Options{})
			qemu.SetLazy(h, lazy)
			vm := adopt(t, h, m)
			c, err := vm.Prime(testContext(t), filepath.Join(m.dir, "spool"))
			if err != nil {
				t.Fatal(err)
			}
			if err := vm.Pause(testContext(t), time.Hour); err != nil {
				t.Fatal(err)
			}
			at := readGuest(t, m.output).last()
			report, err := c.Cut(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if st := status(t, vm); st != "running" || report.PauseMS <= 0 {
				t.Errorf("it is %s, %+v", st, report)
			}
			done, err := c.Finish(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			info := vm.Info()
			m.kill()
			continueFrom(t, h, m, info, done, at, at)
		})
	}
}

// TestCaptureAgain captures the same VM many times; QEMU's settings, its
// descriptors and ours must not grow.
func TestCaptureAgain(t *testing.T) {
	m := guestMachine(t, 64)
	m.startWriting(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	spool := filepath.Join(m.dir, "spool")
	capture(t, vm, spool)
	count := func(pid int) int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	theirs, ours := count(m.cmd.Process.Pid), count(os.Getpid())
	for i := range 6 {
		c, err := vm.Prime(testContext(t), spool)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vm.Prime(testContext(t), spool+"2"); err == nil {
			t.Error("two captures at once")
		}
		if _, err := c.Cut(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			c.Cancel()
		} else if _, err := c.Finish(testContext(t)); err != nil {
			t.Fatal(err)
		}
		c.Cancel()
		if _, err := os.Stat(spool); !os.IsNotExist(err) {
			t.Errorf("spool after Cancel: %v", err)
		}
	}
	eventually(t, "guards end", func() bool { return len(guards(t)) == 0 })
	// Each broken-off capture costs QEMU before 8.1 the userfaultfd that it
	// forgets.
	if n := count(m.cmd.Process.Pid); n > theirs+3 {
		t.Errorf("QEMU has %d descriptors, had %d", n, theirs)
	}
	eventually(t, fmt.Sprintf("our descriptors are %d again", ours), func() bool { return count(os.Getpid()) <= ours })
	m.awaitSweep(t, m.awaitSweep(t, 0))
}
