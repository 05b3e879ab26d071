// Command check explores the models of the protocol and prints what it found:
//
//	go run ./model/check [-small] [-case SUBSTRING]
//
// It exits with 1 when a case does not turn out as expected.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/snapline/snapline/model"
)

func main() {
	small := flag.Bool("small", false, "only the cases that the tests run")
	only := flag.String("case", "", "only cases whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if !run(ctx, *small, *only) {
		os.Exit(1)
	}
}

func run(ctx context.Context, small bool, only string) bool {
	good := true
	fmt.Printf("%-78s %10s %6s %6s %7s  %s\n", "case", "states", "depth", "MiB", "seconds", "result")
	for _, c := range model.Cases() {
		if small && c.Large || !strings.Contains(c.Name(), only) {
			continue
		}
		r, err := model.Run(ctx, c)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			err = c.Check(r)
		}
		result := "holds"
		switch {
		case err != nil:
			good, result = false, err.Error()
		case c.Want != "":
			result = fmt.Sprintf("in %d steps", r.Trail)
		}
		fmt.Printf("%-78s %10d %6d %6.0f %7.1f  %s\n", c.Name(), r.States, r.Depth, r.MemoryMiB, r.Took.Round(100*time.Millisecond).Seconds(), result)
	}
	return good
}
