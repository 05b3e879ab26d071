package repository

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/dir"
)

// peak is the most heap in use that was seen, in bytes.
type peak struct{ atomic.Int64 }

func (p *peak) look() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for {
		old := p.Load()
		if int64(m.HeapInuse) <= old || p.CompareAndSwap(old, int64(m.HeapInuse)) {
			return
		}
	}
}

// watched looks at the heap every 8 MiB.
type watched struct {
	r    io.Reader
	p    *peak
	n, k int64
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if w.n += int64(n); w.n>>23 != w.k {
		w.k = w.n >> 23
		w.p.look()
	}
	return n, err
}

// forgetful stores everything but packs.
type forgetful struct{ blob.Store }

func (f forgetful) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	if strings.HasPrefix(name, packPrefix) {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	return f.Store.Put(ctx, name, size, r)
}

// TestMemoryOfPut stores a machine of some GiB, all pages different, under a
// memory limit: what Put keeps must not grow with the machine.
func TestMemoryOfPut(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it takes 20 s")
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(192 << 20))
	store := blobtest.NewMemory()
	if err := Init(t.Context(), store, secret(t)); err != nil {
		t.Fatal(err)
	}
	var peaks [2]peak
	for i, pages := range []int64{512 << 20 / 4096, 3 << 30 / 4096} {
		r := reopen(t, forgetful{store}, Options{})
		m := guestLike(pages, uint64(i), nil)
		m.zero = 8
		runtime.GC()
		o, err := r.Put(t.Context(), id, "n1", &watched{r: m.stream(), p: &peaks[i]})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("machine of %d MiB: %d MiB stored, heap up to %d MiB, %d MiB of local index",
			pages>>8, o.StoredBytes>>20, peaks[i].Load()>>20, r.index.Size()>>20)
	}
	if p := peaks[1].Load(); p > 200<<20 || p > peaks[0].Load()*3/2 {
		t.Errorf("the heap grows to %d MiB with a larger machine", p>>20)
	}
}

// TestMemoryOfOpen reads a machine of which every second page has changed
// again and again, so that each part of it lies in many packs.
func TestMemoryOfOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it takes 10 s")
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(256 << 20))
	s, err := dir.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := create(t, s)
	const pages = 256 << 20 / 4096
	generation := func(i int64) uint64 { return uint64(i) ^ uint64(i*2654435761>>20%6)<<40 }
	for g := range uint64(6) {
		m := guestLike(pages, 1, nil)
		m.content = func(i int64) uint64 {
			if c := generation(i); c>>40 <= g {
				return c
			}
			return uint64(i)
		}
		o, err := r.Put(t.Context(), id, "n1", m.stream())
		if err != nil {
			t.Fatal(err)
		}
		if g < 5 {
			continue
		}
		runtime.GC()
		var p peak
		f, err := r.Open(t.Context(), id, "n1", o)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n, err := io.Copy(io.Discard, &watched{r: f, p: &p})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d MiB read, heap up to %d MiB", n>>20, p.Load()>>20)
		if p.Load() > 256<<20 {
			t.Errorf("the heap grows to %d MiB", p.Load()>>20)
		}
	}
}
