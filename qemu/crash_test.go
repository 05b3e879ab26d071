package qemu_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/snapline/snapline/qemu"
)

// TestKilledAgent kills this end with SIGKILL in every phase of a capture. The
// VM must run on, its memory must be whole, and the next capture must work.
func TestKilledAgent(t *testing.T) {
	for _, phase := range []string{"primed", "primed-paused", "paused-long", "cut", "copying"} {
		t.Run(phase, func(t *testing.T) {
			m := guestMachine(t, 256)
			m.startWriting(t)
			watch := m.watch(t)
			v := startVictim(t, m, phase)
			stopped := strings.Contains(phase, "paused") || phase == "copying"
			if got := watch.running(t); got == stopped {
				t.Fatalf("before the kill: running %v", got)
			}
			begin := time.Now()
			if err := v.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "VM runs", func() bool { return watch.running(t) })
			t.Logf("VM runs %v after the kill", time.Since(begin).Round(time.Millisecond))
			m.awaitSweep(t, m.awaitSweep(t, 0)+64)
			eventually(t, "guard ends", func() bool { return len(guards(t)) == 0 })

			vm := adopt(t, hypervisor(t, qemu.Options{}), m)
			if r := vm.Problems(testContext(t)); len(r) > 0 {
				t.Errorf("problems: %v", r)
			}
			report, _ := capture(t, vm, filepath.Join(m.dir, "spool"))
			if report.Method != "background-snapshot" {
				t.Errorf("next capture: %+v", report)
			}
		})
	}
}

// TestKilledTogether kills this end and its guard in the middle of a capture:
// the guest stands still until the next agent adopts the VM.
func TestKilledTogether(t *testing.T) {
	t.Run("memory", func(t *testing.T) { killTogether(t, guestMachine(t, 256), "cut") })
	// A device that writes what it has read into protected memory stops QEMU's
	// main loop as well.
	t.Run("disk", func(t *testing.T) {
		m, _ := diskMachine(t, 256, "virtio")
		killTogether(t, m, "disks-cut")
	})
}

func killTogether(t *testing.T, m *machine, phase string) {
	t.Helper()
	m.startWriting(t)
	v := startVictim(t, m, phase)
	if err := v.Process.Signal(syscall.SIGSTOP); err != nil { // or it would notice
		t.Fatal(err)
	}
	for _, pid := range guards(t) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := v.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	vm := adopt(t, hypervisor(t, qemu.Options{StateDir: filepath.Join(m.dir, "state")}), m)
	m.awaitSweep(t, m.awaitSweep(t, 0)+64)
	_, done := capture(t, vm, filepath.Join(m.dir, "spool"))
	releaseAll(t, done.Disks)
	m.awaitSweep(t, m.awaitSweep(t, 0)+64)
}

// TestFrozenAgent stops this end with SIGSTOP while the VM is paused, or waits
// for its pages to be captured: the guard must set it free when the deadline
// passes, and a pause not before.
func TestFrozenAgent(t *testing.T) {
	for _, phase := range []string{"paused", "cut", "copying"} {
		t.Run(phase, func(t *testing.T) {
			m := guestMachine(t, 256)
			m.startWriting(t)
			watch := m.watch(t)
			begin := time.Now()
			v := startVictim(t, m, phase)
			if err := v.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			eventually(t, "VM runs", func() bool { return watch.running(t) })
			if took := time.Since(begin); phase == "paused" && took < victimPause {
				t.Errorf("VM ran %v after the pause began, before its deadline", took)
			}
			m.awaitSweep(t, m.awaitSweep(t, 0)+64)
			t.Logf("guest is free %v after the start", time.Since(begin).Round(time.Millisecond))
			v.Process.Kill()
			v.Wait()
			m.awaitSweep(t, m.awaitSweep(t, 0)+64)
			vm := adopt(t, hypervisor(t, qemu.Options{}), m)
			capture(t, vm, filepath.Join(m.dir, "spool"))
		})
	}
}

// TestKilledGuard kills the guard: nothing may stay paused without one.
func TestKilledGuard(t *testing.T) {
	m := guestMachine(t, 64)
	m.startWriting(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	c, err := vm.Prime(testContext(t), filepath.Join(m.dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Pause(testContext(t), time.Hour); err != nil {
		t.Fatal(err)
	}
	watch := m.watch(t)
	for _, pid := range guards(t) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	eventually(t, "VM runs", func() bool { return watch.running(t) })
	if _, err := c.Cut(testContext(t)); err == nil {
		t.Error("cut after a lost pause: no error")
	}
	if st := status(t, vm); st != "running" {
		t.Errorf("it is %s", st)
	}
}

// TestExpiredPause lets the deadline pass with this end alive: a cut that
// counts on the pause is refused.
func TestExpiredPause(t *testing.T) {
	m := guestMachine(t, 64)
	m.startWriting(t)
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	c, err := vm.Prime(testContext(t), filepath.Join(m.dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Pause(testContext(t), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	eventually(t, "VM runs", func() bool { return status(t, vm) == "running" })
	if _, err := c.Cut(testContext(t)); err == nil {
		t.Error("cut after an expired pause: no error")
	}
	capture(t, vm, filepath.Join(m.dir, "spool"))
}

// TestKilledQEMU kills the VM in the middle of a capture.
func TestKilledQEMU(t *testing.T) {
	for _, phase := range []string{"primed", "cut"} {
		t.Run(phase, func(t *testing.T) {
			m := guestMachine(t, 256)
			m.startWriting(t)
			vm := adopt(t, hypervisor(t, qemu.Options{}), m)
			spool := filepath.Join(m.dir, "spool")
			c, err := vm.Prime(testContext(t), spool)
			if err != nil {
				t.Fatal(err)
			}
			if phase == "cut" {
				if _, err := c.Cut(testContext(t)); err != nil {
					t.Fatal(err)
				}
			}
			m.kill()
			if phase == "cut" {
				_, err = c.Finish(testContext(t))
			} else {
				_, err = c.Cut(testContext(t))
			}
			if err == nil {
				t.Error("no error")
			}
			t.Log(err)
			<-vm.Gone()
			c.Cancel()
			if _, err := os.Stat(spool); !os.IsNotExist(err) {
				t.Errorf("spool is left: %v", err)
			}
		})
	}
}

// TestCancel gives up in every phase; the VM must be as before.
func TestCancel(t *testing.T) {
	m := guestMachine(t, 256)
	m.startWriting(t)
	spool := filepath.Join(m.dir, "spool")
	for name, o := range map[string]qemu.Options{"live": {}, "stopped": {ForceStopAndCopy: "the test wants it"}} {
		for _, phase := range []string{"primed", "primed-paused", "cut"} {
			t.Run(name+"-"+phase, func(t *testing.T) {
				vm := adopt(t, hypervisor(t, o), m)
				defer vm.Close()
				c, err := vm.Prime(testContext(t), spool)
				if err != nil {
					t.Fatal(err)
				}
				if phase == "primed-paused" {
					if err := vm.Pause(testContext(t), time.Hour); err != nil {
						t.Fatal(err)
					}
				}
				if phase == "cut" {
					if _, err := c.Cut(testContext(t)); err != nil {
						t.Fatal(err)
					}
				}
				begin := time.Now()
				c.Cancel()
				c.Cancel()
				t.Logf("cancelled in %v", time.Since(begin).Round(time.Millisecond))
				if st := status(t, vm); st != "running" {
					t.Errorf("it is %s", st)
				}
				if _, err := os.Stat(spool); !os.IsNotExist(err) {
					t.Errorf("spool is left: %v", err)
				}
				m.awaitSweep(t, m.awaitSweep(t, 0))
			})
		}
	}
	vm := adopt(t, hypervisor(t, qemu.Options{}), m)
	capture(t, vm, spool)
}
