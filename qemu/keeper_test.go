package qemu_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/snapline/snapline/qemu"
)

// TestLoadedMachineWithoutAgent kills or freezes the agent that has loaded a
// machine: one that has not run is ended, and nothing is left of it; one that
// runs is left alone.
func TestLoadedMachineWithoutAgent(t *testing.T) {
	m := guestMachine(t, 64)
	m.startWriting(t)
	h := hypervisor(t, qemu.Options{})
	vm := adopt(t, h, m)
	spool := filepath.Join(m.dir, "spool")
	capture(t, vm, spool)
	info, err := json.Marshal(vm.Info())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spool+".info", info, 0o600); err != nil {
		t.Fatal(err)
	}
	m.kill()
	<-vm.Gone()
	t.Cleanup(func() {
		if err := h.Stop(context.Background(), m.member(), nil); err != nil {
			t.Error(err)
		}
	})
	free := func() bool { // no instance listens, and none is there
		_, err := h.Adopt(testContext(t), m.member())
		return err != nil && len(guards(t)) == 0 && len(qemus(t, m.dir)) == 0
	}
	for _, c := range []struct {
		phase  string
		signal syscall.Signal
	}{{"loaded", syscall.SIGKILL}, {"loaded", syscall.SIGSTOP}} {
		v := startVictim(t, m, c.phase)
		if len(qemus(t, m.dir)) != 1 {
			t.Fatalf("%v: no machine was loaded", c.signal)
		}
		for range 2 { // while the agent lives the machine does, for longer than the agent may hang
			before := guards(t)
			<-time.After(victimPause)
			if len(before) != 1 || len(qemus(t, m.dir)) != 1 {
				t.Fatalf("%v: %d guards, %d machines while the agent lives", c.signal, len(before), len(qemus(t, m.dir)))
			}
		}
		begin := time.Now()
		if err := v.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the machine's end", free)
		t.Logf("%s, %v: ended after %v", c.phase, c.signal, time.Since(begin).Round(time.Millisecond))
		if err := v.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	v := startVictim(t, m, "loaded-resumed")
	eventually(t, "guard ends", func() bool { return len(guards(t)) == 0 })
	if err := v.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	m.awaitSweep(t, m.awaitSweep(t, 0)+1)
}

// qemus lists the QEMU processes that work in the directory.
func qemus(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range all {
		if exe, err := os.Readlink(filepath.Join(filepath.Dir(path), "exe")); err != nil || !strings.HasPrefix(filepath.Base(exe), "qemu") {
			continue
		}
		if cwd, err := os.Readlink(filepath.Join(filepath.Dir(path), "cwd")); err == nil && cwd == dir {
			found = append(found, path)
		}
	}
	return found
}
