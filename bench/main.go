// Command bench measures what Snapline costs the machines that it snapshots,
// beside what QEMU offers by itself, in one run on one machine: one virtual
// machine's pause, a neighbour's view of it, the whole capture, the guest's
// speed meanwhile; a group's cut, coloured and barrier; the gate's cost for one
// packet; the repository beside restic and borg, and its restores beside
// QEMU's own; what somebody who works on the machine feels of storing; and how
// long a protected group is away when a host dies. It prints tables and writes
// out/bench.json.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	repeats int // of each program on the memory images
	// restores of each kind. More of them, because one in four here waits for the
	// kernel to find memory for QEMU, for up to half a second, however it is fed.
	restores int
	large    int // GiB of a machine that does not exist; 0 for none
	deaths   int // of hosts
	parts    string
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == selfCommand {
		if err := runSelf(ctx, os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", selfCommand, err)
			return 1
		}
		return 0
	}
	if len(os.Args) == 3 && os.Args[1] == ownerCommand {
		if err := runOwner(os.Args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", ownerCommand, err)
			return 1
		}
		return 0
	}
	var o options
	flag.StringVar(&o.program, "snapline", "bin/snapline", "the snapline program")
	flag.StringVar(&o.out, "out", "out", "folder for bench.json")
	flag.IntVar(&o.runs, "runs", 7, "runs of each method on one machine")
	flag.IntVar(&o.takes, "takes", 9, "snapshots of the group by each strategy")
	flag.IntVar(&o.repeats, "repeats", 5, "runs of each backup program")
	flag.IntVar(&o.restores, "restores", 15, "runs of each way to restore")
	flag.IntVar(&o.large, "large", 0, "also store and read the image of a generated machine of so many GiB")
	flag.StringVar(&o.parts, "parts", "single,group,gate,repository,gentle,recovery", "what to measure")
	flag.IntVar(&o.deaths, "deaths", 5, "deaths of a host under a protected group")
	flag.Parse()
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
	for _, name := range strings.Split(o.parts, ",") {
		measure, ok := parts[name]
		if !ok {
			return fmt.Errorf("-parts %s: no part %q; there are %s", o.parts, name, strings.Join(slices.Sorted(maps.Keys(parts)), ", "))
		}
		if err := measure(ctx, o, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// parts are what can be measured by itself.
var parts = map[string]func(context.Context, options, *result) error{
	"single": func(ctx context.Context, o options, r *result) (err error) {
		say("one virtual machine, 1 GiB, writing all the time")
		r.Single, err = measureSingle(ctx, o)
		return err
	},
	"group": func(ctx context.Context, o options, r *result) (err error) {
		say("a group of three, moving money all the time")
		r.Group, err = measureGroup(ctx, o)
		return err
	},
	"gate": func(_ context.Context, _ options, r *result) (err error) {
		say("the gate")
		r.Gate, err = bpf.MeasureCost(2_000_000)
		return err
	},
	"repository": func(ctx context.Context, o options, r *result) (err error) {
		say("the repository, with the memory of a machine of 1 GiB that runs etcd")
		r.Repository, err = measureRepository(ctx, o)
		return err
	},
	"recovery": func(ctx context.Context, o options, r *result) (err error) {
		say("the death of a host under a protected etcd cluster")
		r.Recovery, err = measureRecovery(ctx, o)
		return err
	},
	"gentle": func(ctx context.Context, o options, r *result) (err error) {
		say("storing beside somebody who uses the machine")
		r.Gentle, err = measureGentle(ctx, o)
		return err
	},
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
