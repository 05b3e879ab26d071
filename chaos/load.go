package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/snapline/snapline/lab/etcd"
)

// How etcd's clients behave: few keys, so that they meet, and others after a while,
// for a history's judgement takes longer than in proportion to its length; slow
// enough for emulated processors.
const (
	loadKeys    = 6
	loadKeyLife = 4 * time.Minute
	loadWorkers = 3
	loadPause   = 120 * time.Millisecond
	loadTimeout = 3 * time.Second
)

// load is a store's clients and what they saw. Safe for use from several goroutines.
type load struct {
	clients []*etcd.Client
	prefix  string

	mu      sync.Mutex
	history []operation
	began   time.Time
}

func newLoad(clients []*etcd.Client) *load {
	return &load{clients: clients, prefix: fmt.Sprintf("chaos/%x/", time.Now().UnixNano())}
}

// run puts and gets until ctx ends.
func (l *load) run(ctx context.Context, seed uint64) {
	l.began = time.Now()
	var all sync.WaitGroup
	for i := range loadWorkers {
		all.Go(func() { l.work(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	all.Wait()
}

func (l *load) work(ctx context.Context, worker int, r *rand.Rand) {
	for n := 0; wait(ctx, loadPause) == nil; n++ {
		o := operation{Client: worker, Action: get, Key: l.key(r.IntN(loadKeys), time.Since(l.began)), Return: never}
		if r.IntN(2) == 0 {
			o.Action, o.Value = put, fmt.Sprintf("%d.%d", worker, n)
		}
		c := l.clients[r.IntN(len(l.clients))]
		at := l.begin(&o)
		if value, err := do(ctx, c, o); err == nil {
			l.end(at, value)
		}
	}
}

// key is the name of one of the keys at a time of the run: they change one after
// the other, and none begins with another.
func (l *load) key(i int, at time.Duration) string {
	life := (at + time.Duration(i)*loadKeyLife/loadKeys) / loadKeyLife
	return fmt.Sprintf("%s%d.%03d", l.prefix, i, life)
}

func do(ctx context.Context, c *etcd.Client, o operation) (value string, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if o.Action == put {
		_, err = c.Put(ctx, o.Key, o.Value)
		return o.Value, err
	}
	items, _, err := c.Range(ctx, o.Key)
	if err == nil && len(items) > 0 {
		value = items[0].Value
	}
	return value, err
}

// begin notes an operation, whose outcome nobody knows yet.
func (l *load) begin(o *operation) (at int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.Call = time.Now().UnixNano()
	l.history = append(l.history, *o)
	return len(l.history) - 1
}

func (l *load) end(at int, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history[at].Value, l.history[at].Return = value, time.Now().UnixNano()
}

// seen is the history so far.
func (l *load) seen() []operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.history)
}

// write keeps a history, and what happened to the group, one line of JSON each.
func writeHistory(path string, history []operation, all []restoration) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, r := range all {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	for _, o := range history {
		if err := enc.Encode(o); err != nil {
			return err
		}
	}
	return w.Flush()
}
