package qemu_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu"
)

// victimPause is the deadline of every pause of a victim.
const victimPause = time.Second

// victim is the process that the crash tests kill or freeze: it goes through a
// capture as far as it is told, says so, and then waits for its end.
//
//	victim PHASE QMP SPOOL STATE
func victim(args []string) error {
	phase, ctx := args[0], context.Background()
	o := qemu.Options{StateDir: args[3]}
	if phase == "copying" {
		o.ForceStopAndCopy = "the test wants it"
	}
	h, err := qemu.New(o)
	if err != nil {
		return err
	}
	qemu.SetPatience(h, 3*victimPause) // a busy machine makes a capture stand still, too
	if strings.HasPrefix(phase, "loaded") {
		return victimLoads(ctx, h, args)
	}
	vm, err := h.Adopt(ctx, snapline.Member{Name: "vm", QEMU: &snapline.QEMU{QMP: args[1]}})
	if err != nil {
		return err
	}
	if err := victimSteps(ctx, vm, phase, args[2]); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// victimLoads loads the machine that startVictim's caller has left beside the
// spool, and lets it run if it is told to.
func victimLoads(ctx context.Context, h *qemu.Hypervisor, args []string) error {
	qemu.SetKeeperTime(h, victimPause)
	var info snapline.VMInfo
	b, err := os.ReadFile(args[2] + ".info")
	if err == nil {
		err = json.Unmarshal(b, &info)
	}
	if err != nil {
		return err
	}
	stream, err := os.Open(args[2])
	if err != nil {
		return err
	}
	defer stream.Close()
	vm, err := h.Load(ctx, snapline.Member{Name: "vm", QEMU: &snapline.QEMU{QMP: args[1]}}, info, stream, nil)
	if err == nil && args[0] == "loaded-resumed" {
		err = vm.Resume(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

func victimSteps(ctx context.Context, vm snapline.VM, phase, spool string) error {
	if phase == "paused" {
		return vm.Pause(ctx, victimPause)
	}
	if phase == "paused-long" {
		return vm.Pause(ctx, time.Hour)
	}
	c, err := vm.Prime(ctx, spool)
	if err != nil || phase == "primed" {
		return err
	}
	if strings.HasPrefix(phase, "disks-") {
		return victimDisks(ctx, c, phase)
	}
	if phase == "primed-paused" {
		return vm.Pause(ctx, time.Hour)
	}
	_, err = c.Cut(ctx)
	return err
}

// victimDisks goes on until the disks are frozen, stored, or being merged.
func victimDisks(ctx context.Context, c snapline.Capture, phase string) error {
	if _, err := c.Cut(ctx); err != nil || phase == "disks-cut" {
		return err
	}
	done, err := c.Finish(ctx)
	if err != nil || phase == "disks-finished" {
		return err
	}
	for _, d := range done.Disks {
		go d.Release(ctx)
	}
	return nil
}

// startVictim runs a victim until it has reached its phase.
func startVictim(t *testing.T, m *machine, phase string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "victim", phase, m.qmp, filepath.Join(m.dir, "spool"), filepath.Join(m.dir, "state"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("victim said %q, %v", line, err)
	}
	return cmd
}
