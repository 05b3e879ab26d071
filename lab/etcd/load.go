package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// KeyPrefix begins every key that a load writes, and no other.
const KeyPrefix = "snapline/load/"

// LoadOptions say how to write. The zero value of everything but Endpoints
// means a load that two emulated processors can bear.
type LoadOptions struct {
	Endpoints []string      // of the members, host:port
	Workers   int           // default 4
	Interval  time.Duration // from one write of a worker to its next; default 20 ms
	Timeout   time.Duration // of one write; default 5 s
	Dial      Dial          // default: from this process's namespace
}

const defaultWorkers = 4

// Load writes until ctx ends and returns nil then. Each worker writes keys
// that are never used twice, one after the other, through one member; after an
// error it goes on with the next member. Every event is a line on journal
// before the load does anything else, so what is on record survives SIGKILL
// if journal is a file or a pipe. An error means that the journal has ended.
func Load(ctx context.Context, o LoadOptions, journal io.Writer) error {
	if len(o.Endpoints) == 0 {
		return errors.New("etcd load: no endpoints")
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]*Client, len(o.Endpoints))
	for i, e := range o.Endpoints {
		clients[i] = NewClient(e, o.Dial)
		defer clients[i].Close()
	}
	rec := &recorder{w: journal, stop: cancel}
	run := time.Now().UnixNano() // tells this load's keys from an earlier one's
	var wg sync.WaitGroup
	for i := range o.Workers {
		w := worker{prefix: fmt.Sprintf("%s%x/%d/", KeyPrefix, run, i), clients: clients, next: i, o: o, rec: rec}
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

type worker struct {
	prefix  string
	clients []*Client
	next    int
	o       LoadOptions
	rec     *recorder
}

func (w *worker) run(ctx context.Context) {
	tick := time.NewTicker(w.o.Interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.write(ctx, fmt.Sprintf("%s%08d", w.prefix, n), fmt.Sprintf("%s%d", w.prefix, n))
	}
}

func (w *worker) write(ctx context.Context, key, value string) {
	w.rec.record(Event{Kind: Attempt, Key: key, Value: value})
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	c := w.clients[w.next%len(w.clients)]
	revision, err := c.Put(ctx, key, value)
	if err != nil {
		w.rec.record(Event{Kind: Failed, Key: key, Text: err.Error()})
		w.next++
		return
	}
	w.rec.record(Event{Kind: Ack, Key: key, Revision: revision})
}

// recorder writes whole lines, one at a time, and ends the load when it cannot.
type recorder struct {
	mu   sync.Mutex
	w    io.Writer
	stop context.CancelCauseFunc
}

func (r *recorder) record(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Now()
	line, err := json.Marshal(e)
	if err == nil {
		_, err = r.w.Write(append(line, '\n'))
	}
	if err != nil {
		r.stop(fmt.Errorf("write journal: %w", err))
	}
}
