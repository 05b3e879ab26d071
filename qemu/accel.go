package qemu

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// AccelVariable is the environment variable that says which accelerator works
// here, kvm or tcg, without a probe.
const AccelVariable = "SNAPLINE_ACCEL"

// probeTime is how long a machine of nothing but firmware may take to boot: it
// needs a few tenths of a second where KVM works at all.
const probeTime = 3 * time.Second

// probeGuest is a multiboot kernel that writes 'K' to port 0xe9 and 0 to port
// 0xf4 (QEMU's isa-debug-exit, which ends the process with status 1):
//
//	cli; mov al,'K'; out 0xe9,al; xor al,al; out 0xf4,al; hlt; jmp $-1
const probeGuest = "02b0ad1b00000100fe4f51e40000100000001000000000000000000020001000" +
	"fab04be6e930c0e6f4f4ebfd"

// ProbeAccel returns the best accelerator that really runs a guest with this
// QEMU: kvm or tcg. That /dev/kvm opens proves nothing: there are hosts on
// which guests then hang. Takes up to 3 s.
func ProbeAccel(ctx context.Context, program string) (string, error) {
	switch forced := os.Getenv(AccelVariable); forced {
	case "":
	case "kvm", "tcg":
		return forced, nil
	default:
		return "", fmt.Errorf("%s=%s: use kvm or tcg", AccelVariable, forced)
	}
	name := filepath.Base(program)
	if !strings.Contains(name, "x86_64") && !strings.Contains(name, "i386") && !strings.Contains(name, "kvm") {
		return "tcg", nil // the probe's guest is for x86
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return "tcg", nil
	}
	ok, err := boots(ctx, program, "kvm")
	if err != nil {
		return "", fmt.Errorf("probe accelerator: %w", err)
	}
	if ok {
		return "kvm", nil
	}
	return "tcg", nil
}

// boots runs the probe's guest.
func boots(ctx context.Context, program, accel string) (bool, error) {
	image, err := hex.DecodeString(probeGuest)
	if err != nil {
		return false, err
	}
	file, err := os.CreateTemp("", "snapline-probe-*.bin")
	if err != nil {
		return false, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(image)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(limited, program, "-accel", accel, "-machine", "q35", "-m", "16",
		"-nodefaults", "-display", "none", "-kernel", file.Name(),
		"-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
	out, _ := cmd.Output() // its exit status is 1 in the good case
	return strings.Contains(string(out), "K"), ctx.Err()
}

// accel is ProbeAccel with a memory: the host does not change under us.
func (h *Hypervisor) accel(ctx context.Context, program string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.accels[program]; ok {
		return known, nil
	}
	found, err := ProbeAccel(ctx, program)
	if err == nil {
		h.accels[program] = found
	}
	return found, err
}
