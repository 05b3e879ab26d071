package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is what Spin found.
type Result struct {
	// Violation is the assertion that a counter-example violates, in Spin's words,
	// or the word "cycle"; empty when the search found nothing.
	Violation string
	Trail     int           // steps of the counter-example
	States    int           // stored
	Depth     int           // of the search, in steps
	MemoryMiB float64       // of the search
	Took      time.Duration // of the search; generating and compiling excluded
}

// Limits of one search. Executions are about a hundred steps long; one that is
// longer than maxDepth fails the search rather than being cut short.
const (
	maxDepth  = 5000
	memoryMiB = 8000
)

// Run explores one case. It works in a folder of its own, which is gone when it
// returns. An error means that the search could not be made or not be finished; a
// property that is violated is a Result.
func Run(ctx context.Context, c Case) (Result, error) {
	for _, p := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(p); err != nil {
			return Result{}, fmt.Errorf("%s is missing: apt-get install spin gcc", p)
		}
	}
	dir, err := os.MkdirTemp("", "snapline-model-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	if err := generate(ctx, dir, c); err != nil {
		return Result{}, fmt.Errorf("%s: %w", c.Name(), err)
	}
	r, err := search(ctx, dir, c)
	if err != nil {
		return r, fmt.Errorf("%s: %w", c.Name(), err)
	}
	return r, nil
}

// generate has Spin write the search as a C program and compiles it.
func generate(ctx context.Context, dir string, c Case) error {
	text, err := source(c.Model)
	if err != nil {
		return err
	}
	file := c.Model + ".pml"
	if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
		return err
	}
	define, err := c.define()
	if err != nil {
		return err
	}
	if _, err := command(ctx, dir, "spin", append(append([]string{"-a"}, define...), file)...); err != nil {
		return err
	}
	// All steps touch what others read, so that partial order reduction (on
	// without NOREDUCE) would find nothing to leave out.
	kind := "-DSAFETY"
	if c.Cycles {
		kind = "-DNP"
	}
	optimise := "-O1"
	if c.Want != "" {
		optimise = "-O0" // found sooner than compiled
	}
	_, err = command(ctx, dir, "gcc", optimise, "-w", "-DNOREDUCE", "-DNOFAIR", kind, fmt.Sprintf("-DMEMLIM=%d", memoryMiB), "-o", "pan", "pan.c")
	return err
}

func search(ctx context.Context, dir string, c Case) (Result, error) {
	args := []string{fmt.Sprintf("-m%d", maxDepth), "-w22"}
	if c.Large {
		args[1] = "-w25"
	}
	if c.Cycles {
		args = append(args, "-l")
	}
	began := time.Now()
	out, err := command(ctx, dir, "./pan", args...)
	if err != nil {
		return Result{}, err
	}
	r, err := read(out)
	r.Took = time.Since(began)
	return r, err
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out.String())
	}
	return out.String(), nil
}

var (
	violated = regexp.MustCompile(`(?m)^pan:1: assertion violated (.*) \(at depth (\d+)\)`)
	endless  = regexp.MustCompile(`(?m)^pan:1: non-progress cycle \(at depth (\d+)\)`)
	stuck    = regexp.MustCompile(`(?m)^pan:1: (.*) \(at depth (\d+)\)`)
	totals   = regexp.MustCompile(`depth reached (\d+), errors: (\d+)`)
	states   = regexp.MustCompile(`(?m)^ *([0-9.e+]+) states, stored`)
	memory   = regexp.MustCompile(`(?m)^ *([0-9.]+)\s+total actual memory usage`)
)

// read takes the result from what the search has printed.
func read(out string) (Result, error) {
	var r Result
	t, s, m := totals.FindStringSubmatch(out), states.FindStringSubmatch(out), memory.FindStringSubmatch(out)
	if t == nil || s == nil || m == nil {
		return r, fmt.Errorf("the search ended without a result:\n%s", out)
	}
	stored, err := strconv.ParseFloat(s[1], 64)
	if err != nil {
		return r, err
	}
	r.States = int(stored)
	r.Depth, _ = strconv.Atoi(t[1])
	r.MemoryMiB, _ = strconv.ParseFloat(m[1], 64)
	if strings.Contains(out, "max search depth too small") || strings.Contains(out, "Search not completed") && t[2] == "0" {
		return r, errors.New("the search was not completed")
	}
	if t[2] == "0" {
		return r, nil
	}
	if v := violated.FindStringSubmatch(out); v != nil {
		r.Violation = v[1]
		r.Trail, _ = strconv.Atoi(v[2])
		return r, nil
	}
	if v := endless.FindStringSubmatch(out); v != nil {
		r.Violation = "cycle"
		r.Trail, _ = strconv.Atoi(v[1])
		return r, nil
	}
	if v := stuck.FindStringSubmatch(out); v != nil {
		r.Violation = v[1]
		r.Trail, _ = strconv.Atoi(v[2])
		return r, nil
	}
	return r, fmt.Errorf("the search has errors that it does not name:\n%s", out)
}

// Check says whether the result is the expected one; nil when it is.
func (c Case) Check(r Result) error {
	if c.Want == "" {
		if r.Violation != "" {
			return fmt.Errorf("%s: violates %s after %d steps", c.Name(), r.Violation, r.Trail)
		}
		return nil
	}
	n, err := number(c.Model, c.Want)
	if err != nil {
		return err
	}
	property := strings.Contains(r.Violation, fmt.Sprintf("(%d&&(%d!=%d))", n, n, n))
	switch {
	case r.Violation == "":
		return fmt.Errorf("%s: not found in %d states", c.Name(), r.States)
	case property != (c.Want[0] == 'P'):
		return fmt.Errorf("%s: found %s instead", c.Name(), r.Violation)
	}
	return nil
}
