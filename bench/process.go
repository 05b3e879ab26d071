package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has taken.
type usage struct {
	WallMS  float64 `json:"wall_ms"`
	CPUMS   float64 `json:"cpu_ms"`   // user and system, of all processors together
	PeakMiB float64 `json:"peak_mib"` // resident, mapped files included
	AnonMiB float64 `json:"anon_mib"` // the most that was resident and of no file
}

// sampling is how often a process's memory is looked at.
const sampling = 10 * time.Millisecond

// measured runs a program to its end and returns what it took and printed.
func measured(cmd *exec.Cmd) (usage, string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, "", err
	}
	watching, stop := context.WithCancel(context.Background())
	seen := make(chan memory, 1)
	go func() { seen <- watchMemory(watching, cmd.Process.Pid) }()
	err := cmd.Wait()
	u := usage{WallMS: ms(time.Since(began))}
	stop()
	m := <-seen
	u.PeakMiB, u.AnonMiB = m.peakMiB, m.anonMiB
	if err != nil {
		return u, "", fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(errs.Bytes()))
	}
	u.CPUMS = ms(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
	return u, out.String(), nil
}

type memory struct{ peakMiB, anonMiB float64 }

// watchMemory follows a process until ctx ends. The kernel's own ru_maxrss does
// not serve: it begins with what the process that forked had.
func watchMemory(ctx context.Context, pid int) (most memory) {
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			if m, err := parseStatus(string(b)); err == nil {
				most.peakMiB, most.anonMiB = max(most.peakMiB, m.peakMiB), max(most.anonMiB, m.anonMiB)
			}
		}
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// parseStatus reads the lines about memory of /proc/PID/status
// (proc_pid_status(5)). A process that has ended has none.
func parseStatus(s string) (memory, error) {
	var m memory
	found := 0
	lines := bufio.NewScanner(strings.NewReader(s))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		var at *float64
		switch key {
		case "VmHWM":
			at = &m.peakMiB
		case "RssAnon":
			at = &m.anonMiB
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s: %w", key, err)
		}
		*at = float64(kib) / 1024
		found++
	}
	if found != 2 {
		return m, errors.New("it says nothing of memory")
	}
	return m, lines.Err()
}
