package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/snapline/snapline/lab/etcd"
)

const (
	healthLimit = 90 * time.Second
	judgeLimit  = 30 * time.Second // for each key
	settledFor  = time.Minute      // without an operation, a key gets none any more
)

// etcdCheck holds what etcd's clients saw against the model.
type etcdCheck struct {
	load  *load
	watch *watch
	out   string
	// settled are keys that were judged for good, and with how many operations.
	settled map[string]int
}

func (e *etcdCheck) start(ctx context.Context, seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { e.load.run(ctx, seed) })
	return func() { cancel(); running.Wait() }
}

// look waits until each member serves, and judges the whole history so far.
func (e *etcdCheck) look(ctx context.Context) (string, error) {
	wait, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	if _, err := etcd.AwaitHealthy(wait, e.load.clients); err != nil {
		return "", err
	}
	// The history first: what happens from now on is in neither.
	history := e.load.seen()
	e.watch.look(ctx)
	all := e.watch.restorations()
	v := judge(e.open(history), all, judgeLimit)
	if v.Result == porcupine.Ok {
		e.settle(history)
		return fmt.Sprintf("%d operations linearizable with %d rollbacks", len(history), len(certain(all))), nil
	}
	what := "is not linearizable"
	if v.Result == porcupine.Unknown {
		what = fmt.Sprintf("could not be judged within %v", judgeLimit)
	}
	picture, lines := filepath.Join(e.out, "chaos-etcd.html"), filepath.Join(e.out, "chaos-etcd.jsonl")
	err := errors.Join(writeHistory(lines, history, all), visualize(picture, v))
	return "", errors.Join(fmt.Errorf("key %s %s, with %d operations and %d rollbacks: %s, %s", v.Key, what, len(history), len(certain(all)), picture, lines), err)
}

// open leaves out what was judged for good.
func (e *etcdCheck) open(history []operation) []operation {
	n := countByKey(history)
	return slices.DeleteFunc(slices.Clone(history), func(o operation) bool { return e.settled[o.Key] == n[o.Key] })
}

// settle notes the keys that clients have left, after all was judged to be right.
func (e *etcdCheck) settle(history []operation) {
	last := map[string]int64{}
	for _, o := range history {
		last[o.Key] = max(last[o.Key], o.Call)
	}
	n := countByKey(history)
	for key, at := range last {
		if time.Since(time.Unix(0, at)) > settledFor {
			e.settled[key] = n[key]
		}
	}
}

func countByKey(history []operation) map[string]int {
	n := map[string]int{}
	for _, o := range history {
		n[o.Key]++
	}
	return n
}

func visualize(path string, v verdict) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(porcupine.Visualize(model, v.Info, f), f.Close())
}
