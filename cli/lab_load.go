package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/etcd"
)

// journal is the load's journal in memory, readable while it grows.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// take returns what was written since the last take.
func (j *journal) take() etcd.Journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	read, err := etcd.ReadJournal(&j.b)
	if err != nil {
		return nil // our own lines are well formed
	}
	return read
}

// followLoad writes to the cluster until ctx ends and says every second how
// many writes were acknowledged and the longest wait between two of them.
func followLoad(ctx context.Context, l *lab.Lab, w io.Writer) error {
	j := &journal{}
	done := make(chan error, 1)
	go func() {
		done <- etcd.Load(ctx, etcd.LoadOptions{Endpoints: l.EtcdEndpoints(), Dial: l.Switch().DialContext}, j)
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last etcd.Journal // the last acknowledgement, to see a gap that spans ticks
	for {
		var err error
		ended := false
		select {
		case err = <-done:
			ended = true
		case <-tick.C:
		}
		news := j.take()
		acked := news.Acknowledged(time.Time{})
		gap := append(last, news...).LongestGap(time.Time{}, time.Time{})
		fmt.Fprintf(w, "%s  %3d writes acknowledged, longest wait %4d ms\n", time.Now().Format(time.TimeOnly), acked, gap.Milliseconds())
		for i := len(news) - 1; i >= 0; i-- {
			if news[i].Kind == etcd.Ack {
				last = news[i : i+1 : i+1]
				break
			}
		}
		if ended {
			return err
		}
	}
}
