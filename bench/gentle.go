package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/gentle"
	"github.com/snapline/snapline/repository/page"
)

// How a capture is stored beside an owner.
const (
	storeNot    = "nothing stored"
	storePlain  = "stored plainly"
	storeGentle = "stored gently, --max-cpu 50%"
	storeLess   = "stored gently, --max-cpu 10%"
)

// gentleResult is what owners of a desktop feel of a capture that is stored.
type gentleResult struct {
	*conditions
	MiB     float64        `json:"mib"` // of the capture
	Samples []gentleSample `json:"samples"`
}

type gentleSample struct {
	ownerResult
	Owner   string  `json:"owner"`
	Store   string  `json:"store"`
	Run     int     `json:"run"`
	StoreMS float64 `json:"store_ms"`
	Stored  bool    `json:"stored"` // false: still under way when the owner left
}

const (
	gentleMiB = 384
	// ownerStays is how long an owner is watched at the most: a busy one leaves
	// nothing for a gentle worker.
	ownerStays = 8 * time.Second
	gentleRuns = 3
)

func measureGentle(ctx context.Context, _ options) (*gentleResult, error) {
	folder, err := os.MkdirTemp("", "snapline-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	r := &gentleResult{MiB: gentleMiB}
	if r.conditions, err = newConditions(ctx, folder); err != nil {
		return nil, err
	}
	if err := r.note("gentle"); err != nil {
		return nil, err
	}
	capture := filepath.Join(folder, "capture")
	if err := writeCapture(capture); err != nil {
		return nil, err
	}
	for run := range gentleRuns {
		for _, owner := range []string{ownerLight, ownerBusy} {
			for _, store := range []string{storeNot, storePlain, storeGentle, storeLess} {
				s, err := gentleRun(ctx, folder, capture, owner, store)
				if err != nil {
					return nil, fmt.Errorf("%s owner, %s: %w", owner, store, err)
				}
				s.Run = run
				say("  %d/%d %-5s owner, %-28s %7.1f pieces/s, p99 %6.1f ms, most %6.1f ms, stored %v after %.0f ms", run+1, gentleRuns, owner, store, s.PerSecond, s.P99MS, s.MaxMS, s.Stored, s.StoreMS)
				r.Samples = append(r.Samples, s)
			}
		}
	}
	return r, r.note("end")
}

// writeCapture writes what costs as much to store as memory that is full of
// different pages.
func writeCapture(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 256*page.Size)
	for i := range gentleMiB << 20 / len(b) {
		fillPages(b, uint64(i)+1)
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return f.Sync()
}

// gentleRun stores the capture in a new repository while an owner works.
func gentleRun(ctx context.Context, folder, capture, owner, store string) (s gentleSample, err error) {
	repo, err := os.MkdirTemp(folder, "run-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(repo)
	repo = filepath.Join(repo, "repo")
	if _, _, err := measured(self(ctx, "init", repo)); err != nil {
		return s, err
	}
	limited, cancel := context.WithTimeout(ctx, ownerStays)
	defer cancel()
	s = gentleSample{Owner: owner, Store: store}
	began := time.Now()
	s.ownerResult, err = withOwner(ctx, owner, func() error {
		err := storeBeside(limited, repo, capture, store)
		s.StoreMS, s.Stored = ms(time.Since(began)), err == nil && store != storeNot
		if ctx.Err() == nil && limited.Err() != nil {
			return nil
		}
		return err
	})
	return s, err
}

func storeBeside(ctx context.Context, folder, capture, store string) error {
	if store == storeNot {
		<-ctx.Done()
		return nil
	}
	r, err := openRepository(ctx, folder)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Open(capture)
	if err != nil {
		return err
	}
	defer f.Close()
	var to snapline.Repository = r
	if share := map[string]float64{storeGentle: 0.5, storeLess: 0.1}[store]; share > 0 {
		to = gentle.New(r, gentle.Options{Command: []string{"/proc/self/exe", selfCommand, "work", folder}, Processors: share * float64(runtime.NumCPU())})
	}
	_, err = to.Put(ctx, "bench-1", member, f)
	return err
}

func (r *gentleResult) print(w io.Writer) {
	t := newTable(fmt.Sprintf("an owner while %.0f MiB of memory are stored (medians of %d)", r.MiB, gentleRuns), "owner", "meanwhile", "pieces of work", "p99 delay", "longest", "stored after")
	for _, owner := range []string{ownerLight, ownerBusy} {
		for _, store := range []string{storeNot, storePlain, storeGentle, storeLess} {
			var list []gentleSample
			stored := true
			for _, s := range r.Samples {
				if s.Owner == owner && s.Store == store {
					list = append(list, s)
					stored = stored && s.Stored
				}
			}
			after := "-"
			if stored {
				after = millis(median(list, func(s gentleSample) float64 { return s.StoreMS }))
			} else if store != storeNot {
				after = fmt.Sprintf("not within %v", ownerStays)
			}
			p99, longest := "-", "-"
			if owner == ownerLight {
				p99, longest = millis(median(list, func(s gentleSample) float64 { return s.P99MS })), millis(median(list, func(s gentleSample) float64 { return s.MaxMS }))
			}
			t.AppendRow(table.Row{owner, store, fmt.Sprintf("%.1f/s", median(list, func(s gentleSample) float64 { return s.PerSecond })), p99, longest, after})
		}
	}
	fmt.Fprintln(w, t.Render())
}
