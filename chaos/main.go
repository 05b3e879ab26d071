package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/snapline/snapline/lab"
)

func main() {
	os.Exit(run())
}

type options struct {
	program, guest string
	out            string
	name           string // the labs' names begin with it
	seed           uint64
	length         time.Duration
	steps          int // of each group at the most; 0: as many as there is time for
	every          time.Duration
	memory         int // of each virtual machine, MiB
}

func run() int {
	var o options
	flag.StringVar(&o.program, "snapline", "bin/snapline", "the snapline program")
	flag.StringVar(&o.out, "out", "out", "folder for chaos.json, and for logs and histories when something is wrong")
	flag.Uint64Var(&o.seed, "seed", 1, "what the schedule is drawn from")
	minutes := flag.Float64("minutes", 10, "how long; the last step is played to its end")
	flag.IntVar(&o.steps, "steps", 0, "how many steps of each group at the most (0: as many as there is time for)")
	flag.DurationVar(&o.every, "every", 15*time.Second, "interval of the protections' snapshots")
	groups := flag.String("groups", "bank,etcd", "which groups, side by side")
	flag.Parse()
	o.name, o.memory = "chaos", 256
	o.length = time.Duration(*minutes * float64(time.Minute))
	if guest := filepath.Join(filepath.Dir(o.program), "snapline-bank"); exists(guest) {
		o.guest = guest
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := playAll(ctx, o, strings.Split(*groups, ","))
	r.Minutes = *minutes
	if err != nil {
		r.Error = err.Error()
	}
	r.OK = err == nil && r.ok()
	r.print(os.Stdout)
	path := filepath.Join(o.out, "chaos.json")
	if werr := r.write(path); werr != nil {
		err = errors.Join(err, werr)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(os.Stderr, "chaos: interrupted; what there was of it is in %s\n", path)
		return 130
	case err != nil:
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		return 1
	case !r.OK:
		fmt.Fprintf(os.Stderr, "chaos: VIOLATIONS with seed %d, see %s\n", o.seed, path)
		return 1
	}
	fmt.Fprintf(os.Stderr, "chaos: every check held, seed %d; %s\n", o.seed, path)
	return 0
}

// playAll runs the groups side by side, each in its lab.
func playAll(ctx context.Context, o options, groups []string) (report, error) {
	began := time.Now()
	r := report{At: began.UTC(), Seed: o.seed}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return r, err
	}
	var errs []error
	for _, g := range groups {
		if w := lab.Workload(g); w != lab.Bank && w != lab.Etcd {
			return r, fmt.Errorf("-groups %s: there are bank and etcd", g)
		}
		r.Groups = append(r.Groups, newGroupReport(g))
		errs = append(errs, nil)
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", o.seed)
	var playing sync.WaitGroup
	for i, g := range groups {
		playing.Go(func() {
			if err := play(ctx, o, lab.Workload(g), r.Groups[i]); err != nil {
				errs[i] = fmt.Errorf("%s: %w", g, err)
			}
		})
	}
	playing.Wait()
	r.Seconds = time.Since(began).Seconds()
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return r, errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
