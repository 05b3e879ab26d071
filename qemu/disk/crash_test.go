package disk_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/snapline/snapline/qemu/disk"
	"github.com/snapline/snapline/qemu/qmp"
)

// victim freezes and merges the disks of a VM, and kills itself at a named
// step; of "…-wait" steps it waits to be killed.
//
//	victim STEP QMP PID JOURNALS
func victim(args []string) error {
	step, ctx := args[0], context.Background()
	pid, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	s, err := disk.Open(args[3])
	if err != nil {
		return err
	}
	s.At(func(at string) {
		if at == step {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
	if step == "committing" || step == "committed" {
		return s.RecoverStopped(ctx, args[1])
	}
	c, err := qmp.Dial(ctx, args[1])
	if err != nil {
		return err
	}
	set, err := freeze(ctx, s, described(c, pid))
	if err != nil {
		return err
	}
	fmt.Println("frozen")
	bufio.NewReader(os.Stdin).ReadString('\n') // the guest writes for a while
	return set.Cancel(ctx)
}

// runVictim runs one until it is dead.
func runVictim(t *testing.T, m *machine, step, journals string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "victim", step, m.qmp, strconv.Itoa(m.cmd.Process.Pid), journals)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line == "frozen\n" {
		m.awaitRecords(t, 30)
		fmt.Fprintln(in)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("victim of step %s: %v: %s", step, err, stderr.String())
	}
}

// steps are all places to die at, with the VM alive.
var steps = []string{
	"planned", "first-overlay", "overlays", "nodes", "switched", "noted",
	"merging", "ready", "pending", "pivoting", "pivoted", "merged",
}

var crashKinds = []string{"virtio-drive-qcow2", "scsi-blockdev-qcow2", "virtio-blockdev-raw"}

// TestKilledAgent kills this end at each step; the VM lives on and the next
// agent cleans up.
func TestKilledAgent(t *testing.T) {
	m := newMachine(t, 0, crashKinds...)
	m.start(t)
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			journals := t.TempDir()
			runVictim(t, m, step, journals)
			if strings.Contains("switched noted", step) {
				// The VM is still stopped: its guard would let it run.
				c := m.connect(t)
				if _, err := qmp.Run(testContext(t), c.Client, qmp.Cont{}); err != nil {
					t.Fatal(err)
				}
				m.awaitRecords(t, 10)
				c.Client.Close()
			}
			if step != "pending" && step != "pivoting" { // there the guest's writes wait
				m.awaitRecords(t, 10)
			}
			s := store(t, journals)
			if pending, err := s.Pending(); err != nil || len(pending) != 1 || pending[0] != m.qmp {
				t.Errorf("pending: %v, %v", pending, err)
			}
			vm := m.connect(t)
			defer vm.Client.Close()
			if err := s.RecoverStopped(testContext(t), m.qmp); step != "planned" && step != "merged" && step != "pivoted" && !errors.Is(err, disk.ErrInUse) && err != nil {
				t.Errorf("recovered as if it were dead: %v", err)
			}
			if err := s.RecoverRunning(testContext(t), vm); err != nil {
				t.Fatal(err)
			}
			last := m.awaitRecords(t, 10)
			m.checkClean(t, journals)
			for _, d := range discover(t, vm) {
				if strings.Contains(d.Path, "snapline") {
					t.Errorf("it runs on %s", d.Path)
				}
			}
			m.checkDisks(t, last)
		})
	}
	vm := m.connect(t)
	if _, err := qmp.Run(testContext(t), vm.Client, quit{}); err != nil {
		t.Fatal(err)
	}
	m.cmd.Wait()
	m.checkClean(t, t.TempDir())
	m.checkDisks(t, acknowledged(t, m.output))
}

// quit ends a QEMU in order.
type quit struct{}

func (quit) Command() string     { return "quit" }
func (quit) Returns(qmp.Nothing) {}

// TestKilledTogether kills the VM, too, after each step: disks are finished or
// undone with nobody there.
func TestKilledTogether(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, 0, crashKinds...)
			m.start(t)
			journals := t.TempDir()
			runVictim(t, m, step, journals)
			if step == "switched" || step == "noted" {
				c := m.connect(t)
				if _, err := qmp.Run(testContext(t), c.Client, qmp.Cont{}); err != nil {
					t.Fatal(err)
				}
			}
			if step != "pending" && step != "pivoting" {
				m.awaitRecords(t, 10)
			}
			m.kill()
			if err := store(t, journals).RecoverStopped(testContext(t), m.qmp); err != nil {
				t.Fatal(err)
			}
			m.checkClean(t, journals)
			m.checkDisks(t, acknowledged(t, m.output))
		})
	}
}

// TestKilledRecovery kills the offline commit, and does it again.
func TestKilledRecovery(t *testing.T) {
	m := newMachine(t, 0, crashKinds...)
	m.start(t)
	journals := t.TempDir()
	runVictim(t, m, "merging", journals)
	m.awaitRecords(t, 50)
	m.kill()
	last := acknowledged(t, m.output)
	runVictim(t, m, "committing", journals)
	runVictim(t, m, "committed", journals)
	if err := store(t, journals).RecoverStopped(testContext(t), m.qmp); err != nil {
		t.Fatal(err)
	}
	m.checkClean(t, journals)
	m.checkDisks(t, last)
}

// TestStartedWithoutOverlay starts the VM on the disk alone after a crash: now
// there are two futures, and neither may be touched.
func TestStartedWithoutOverlay(t *testing.T) {
	m := newMachine(t, 0, "virtio-drive-qcow2")
	m.start(t)
	journals := t.TempDir()
	vm := m.connect(t)
	if _, err := freeze(testContext(t), store(t, journals), vm); err != nil {
		t.Fatal(err)
	}
	m.awaitRecords(t, 30)
	m.kill()
	m.start(t)
	s := store(t, journals)
	var conflict *disk.ConflictError
	if err := s.RecoverRunning(testContext(t), m.connect(t)); !errors.As(err, &conflict) || !conflict.Running {
		t.Errorf("with the VM running on the base: %v", err)
	}
	m.kill()
	conflict = nil
	err := s.RecoverStopped(testContext(t), m.qmp)
	if !errors.As(err, &conflict) || conflict.Running || conflict.Base != m.disks[0] {
		t.Fatalf("no conflict: %v", err)
	}
	t.Log(err)
	if _, err := os.Stat(conflict.Overlay); err != nil {
		t.Error(err)
	}
	// The user decides for what the disk is now.
	if err := os.Remove(conflict.Overlay); err != nil {
		t.Fatal(err)
	}
	if err := s.RecoverStopped(testContext(t), m.qmp); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("with the overlay gone: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(journals, "*.journal")); len(left) != 1 {
		t.Errorf("journals: %v", left)
	}
}
