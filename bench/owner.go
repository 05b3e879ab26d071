package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zeebo/blake3"
)

// ownerCommand, as the first argument, makes this program somebody who uses the
// machine while snapshots are stored, in a session of their own.
const ownerCommand = "owner"

// What an owner does.
const (
	ownerLight = "light" // wakes every 10 ms, works for 2, and waits for nothing else
	ownerBusy  = "busy"  // computes on every processor all the time
)

// ownerResult is how that went.
type ownerResult struct {
	PerSecond float64 `json:"per_second"` // pieces of work
	// The delays are from when a piece was due to when it was done; the light
	// owner's only.
	MedianMS float64 `json:"median_ms"`
	P99MS    float64 `json:"p99_ms"`
	MaxMS    float64 `json:"max_ms"`
}

// runOwner works until its standard input ends, and says how it went.
func runOwner(kind string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var r ownerResult
	switch kind {
	case ownerLight:
		r = workLightly(ctx)
	case ownerBusy:
		r = workAlways(ctx)
	default:
		return fmt.Errorf("%s %s: there are %s and %s", ownerCommand, kind, ownerLight, ownerBusy)
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// piece is about 2 ms of work for one of today's processors.
func piece() {
	var block [64 << 10]byte
	for range 60 {
		sum := blake3.Sum256(block[:])
		copy(block[:], sum[:])
	}
}

func workLightly(ctx context.Context) ownerResult {
	const every = 10 * time.Millisecond
	tick := time.NewTimer(0)
	defer tick.Stop()
	var delays []float64
	began := time.Now()
	for due := began; ; due = due.Add(every) {
		tick.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return summary(delays, time.Since(began))
		case <-tick.C:
		}
		piece()
		delays = append(delays, ms(time.Since(due)))
		if late := time.Since(due); late > every { // what was missed is missed, as frames of a film are
			due = due.Add(late.Truncate(every))
		}
	}
}

func summary(delays []float64, d time.Duration) ownerResult {
	if len(delays) == 0 {
		return ownerResult{}
	}
	slices.Sort(delays)
	at := func(q float64) float64 { return delays[int(q*float64(len(delays)-1))] }
	return ownerResult{PerSecond: float64(len(delays)) / d.Seconds(), MedianMS: at(0.5), P99MS: at(0.99), MaxMS: at(1)}
}

func workAlways(ctx context.Context) ownerResult {
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range runtime.NumCPU() {
		all.Go(func() {
			for ctx.Err() == nil {
				piece()
				done.Add(1)
			}
		})
	}
	all.Wait()
	return ownerResult{PerSecond: float64(done.Load()) / time.Since(began).Seconds()}
}

// withOwner has an owner work while do does something.
func withOwner(ctx context.Context, kind string, do func() error) (r ownerResult, err error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", ownerCommand, kind)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	runtime.LockOSThread() // see Pdeathsig
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	err = errors.Join(do(), in.Close())
	b, readErr := io.ReadAll(out)
	if err = errors.Join(err, readErr, cmd.Wait()); err != nil {
		return r, fmt.Errorf("%s owner: %w", kind, err)
	}
	return r, json.Unmarshal(b, &r)
}
