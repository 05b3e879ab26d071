// Command demo shows Snapline's main job from end to end: a real etcd cluster
// in virtual machines on three hosts of one machine is snapshotted under load,
// killed, and restored onto other hosts; then one of the hosts dies, and the
// cluster comes back by itself. It exits 0 only when every check of the restored
// clusters holds, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/snapline/snapline/lab"
)

const labName = "demo"

func main() {
	os.Exit(run())
}

func run() int {
	program := flag.String("snapline", "bin/snapline", "the snapline program")
	out := flag.String("out", "out", "folder for demo.json and the load's journal")
	keep := flag.Bool("keep", false, "leave the lab up afterwards (snapline lab down demo ends it)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{program: *program, out: *out, began: time.Now()}
	err := d.play(ctx)
	if err != nil && d.lab != nil {
		d.keepLogs()
	}
	if !*keep || err != nil {
		if cerr := d.clear(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("clear up: %w", cerr))
		}
	}
	d.report.Seconds = time.Since(d.began).Seconds()
	d.report.OK = err == nil && d.report.Checks.OK() && d.report.Second != nil && d.report.Second.Checks.OK()
	if err != nil {
		d.report.Error = err.Error()
	}
	if werr := d.report.write(filepath.Join(*out, "demo.json")); werr != nil {
		err = errors.Join(err, werr)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nthe demo failed: %v\n", err)
		return 1
	}
	d.say("VERDICT: the cluster is the one of the cut, twice; without a dead host it was back after %.1f s, by itself. %.0f s in all; %s", d.report.Second.RunningMS/1000, d.report.Seconds, filepath.Join(*out, "demo.json"))
	return 0
}

// clear takes the lab down, also after Ctrl-C, and looks whether it is gone.
func (d *demo) clear() error {
	d.say("taking the lab down")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := lab.Down(ctx, labName); err != nil {
		return err
	}
	left, err := lab.Leftovers(labName)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %v", left)
	}
	return err
}

// keepLogs copies the daemons' logs and the guests' consoles out of the lab's
// folder, which goes with it.
func (d *demo) keepLogs() {
	to := filepath.Join(d.out, "demo-logs")
	if err := os.RemoveAll(to); err != nil {
		return
	}
	if err := os.CopyFS(to, os.DirFS(filepath.Join(d.lab.Dir, "log"))); err != nil {
		return
	}
	for _, vm := range d.lab.VMs() {
		if b, err := os.ReadFile(vm.Console); err == nil {
			_ = os.WriteFile(filepath.Join(to, vm.Name+".console"), b, 0o644) // the others may be enough
		}
	}
	d.say("the coordinator's and agents' logs, and the guests' consoles, are in %s", to)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\n[%5.1f s] %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
