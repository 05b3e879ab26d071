package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/snapline/snapline/lab/etcd"
)

const (
	healthLimit = 90 * time.Second
	judgeLimit  = 30 * time.Second // for each key
)

// etcdCheck holds what etcd's clients saw against the model.
type etcdCheck struct {
	load  *load
	watch *watch
	out   string
	began time.Time
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
	v := judge(history, all, judgeLimit)
	text := fmt.Sprintf("%d operations on %d keys linearizable with %d rollbacks", v.Operations, v.Keys, len(certain(all)))
	if v.Result == porcupine.Ok {
		return text, nil
	}
	what := "is not linearizable"
	if v.Result == porcupine.Unknown {
		what = fmt.Sprintf("could not be judged within %v", judgeLimit)
	}
	picture, lines := filepath.Join(e.out, "chaos-etcd.html"), filepath.Join(e.out, "chaos-etcd.jsonl")
	err := errors.Join(writeHistory(lines, history, all), visualize(picture, v))
	return "", errors.Join(fmt.Errorf("key %s %s, with %d operations and %d rollbacks: %s, %s", v.Key, what, v.Operations, len(certain(all)), picture, lines), err)
}

func visualize(path string, v verdict) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(porcupine.Visualize(model, v.Info, f), f.Close())
}
