// Command bench measures what Snapline costs the machines that it snapshots,
// beside what QEMU offers by itself, in one run on one machine: one virtual
// machine's pause, a neighbour's view of it, the whole capture, the guest's
// speed meanwhile; a group's cut, coloured and barrier; and the gate's cost for
// one packet. It prints tables and writes out/bench.json.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/snapline/snapline/bpf"
)

func main() {
	os.Exit(run())
}

type options struct {
	program string
	out     string
	runs    int // of each method on the single machine
	takes   int // of each strategy on the group
}

func run() int {
	var o options
	flag.StringVar(&o.program, "snapline", "bin/snapline", "the snapline program")
	flag.StringVar(&o.out, "out", "out", "folder for bench.json")
	flag.IntVar(&o.runs, "runs", 7, "runs of each method on one machine")
	flag.IntVar(&o.takes, "takes", 9, "snapshots of the group by each strategy")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := result{At: time.Now().UTC(), CPUs: runtime.NumCPU()}
	err := measure(ctx, o, &r)
	if err == nil {
		r.judge()
		r.print(os.Stdout)
		err = r.write(filepath.Join(o.out, "bench.json"))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

func measure(ctx context.Context, o options, r *result) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	say("one virtual machine, 1 GiB, writing all the time")
	single, err := measureSingle(ctx, o)
	if err != nil {
		return fmt.Errorf("one machine: %w", err)
	}
	r.Single = single
	say("a group of three, moving money all the time")
	if r.Group, err = measureGroup(ctx, o); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	say("the gate")
	r.Gate, err = bpf.MeasureCost(2_000_000)
	return err
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

func (r result) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
