package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// conditions are what a figure depends on beside what it measures.
type conditions struct {
	Kernel   string            `json:"kernel"`
	CPU      string            `json:"cpu"`
	Versions map[string]string `json:"versions"`
	Folder   string            `json:"folder"` // where repositories and images lay
	// Load is /proc/loadavg's average over one minute, when something began.
	// Other work makes wall times longer, and less so processor times.
	Load map[string]float64 `json:"load"`
}

func newConditions(ctx context.Context, folder string) (*conditions, error) {
	c := &conditions{Folder: folder, Versions: map[string]string{}, Load: map[string]float64{}}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	c.Kernel = unix.ByteSliceToString(u.Release[:])
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	c.CPU = cpuModel(string(b))
	for program, arg := range map[string]string{"restic": "version", "borg": "--version", "qemu-system-x86_64": "--version"} {
		out, err := exec.CommandContext(ctx, program, arg).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w (make deps installs it)", program, err)
		}
		c.Versions[program], _, _ = strings.Cut(string(out), "\n")
	}
	return c, nil
}

// note records the load now.
func (c *conditions) note(what string) error {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	var one float64
	if _, err := fmt.Sscan(string(b), &one); err != nil {
		return fmt.Errorf("/proc/loadavg: %w", err)
	}
	c.Load[what] = one
	return nil
}

// cpuModel finds the processor's name in /proc/cpuinfo.
func cpuModel(info string) string {
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
