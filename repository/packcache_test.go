package repository

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// counting counts the bytes that are read of packs.
type counting struct {
	blob.Store
	read *atomic.Int64
}

func (c counting) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, packPrefix) {
		c.read.Add(n)
	}
	return c.Store.Get(ctx, name, off, n)
}

func cachedPacks(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*", "packs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestPackCache: what a machine has written or read comes from its own disk, up
// to the bound, and a damaged copy there harms nobody.
func TestPackCache(t *testing.T) {
	store := blobtest.NewMemory()
	var read atomic.Int64
	create(t, store)
	o := Options{CacheDir: t.TempDir(), CacheBytes: 64 << 20, Reads: 1, Uploads: 1}
	writer := reopen(t, counting{store, &read}, o)
	stream := ram(1, 60<<20)
	object := stored(t, writer, id, stream)
	wantStream(t, writer, id, stream)
	if read.Load() != 0 {
		t.Errorf("%d bytes were read that had just been written", read.Load())
	}
	for _, f := range cachedPacks(t, o.CacheDir) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[5000] ^= 1
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := reopen(t, store, o).Verify(t.Context(), id, "n1", object); err != nil {
		t.Errorf("damaged copies in the cache: %v", err)
	}

	other := Options{CacheDir: t.TempDir(), CacheBytes: 5 << 20, Reads: 1}
	reader := reopen(t, counting{store, &read}, other)
	wantStream(t, reader, id, stream)
	if n := len(cachedPacks(t, other.CacheDir)); n > 1 {
		t.Errorf("%d packs in a cache of 5 MiB", n)
	}
	other.CacheBytes = 1 << 30
	reader = reopen(t, counting{store, &read}, other)
	wantStream(t, reader, id, stream)
	read.Store(0)
	wantStream(t, reader, id, stream)
	if read.Load() != 0 {
		t.Errorf("%d bytes were read again", read.Load())
	}
}

// TestRestoreReadsOnce: a machine whose pages compress well asks for little of a
// pack at a time, and several readers do at once. What Verify has read, as a
// restore does first, need not come from the storage again.
func TestRestoreReadsOnce(t *testing.T) {
	store := blobtest.NewMemory()
	var read atomic.Int64
	o := stored(t, create(t, store), id, quarters(48<<20))
	r := reopen(t, counting{store, &read}, Options{CacheDir: t.TempDir(), CacheBytes: 1 << 30})
	if err := r.Verify(t.Context(), id, "n1", o); err != nil {
		t.Fatal(err)
	}
	if n := read.Swap(0); n > o.StoredBytes*3/2 {
		t.Errorf("Verify read %d bytes of %d", n, o.StoredBytes)
	}
	if _, err := readAll(t, r, id, o); err != nil {
		t.Fatal(err)
	}
	if read.Load() != 0 {
		t.Errorf("then Open read %d bytes of %d again", read.Load(), o.StoredBytes)
	}
}

// quarters are pages of which three quarters are zero: a window of them is less
// than an eighth of a pack.
func quarters(n int) []byte {
	b := make([]byte, n)
	rnd := rand.NewPCG(7, 1)
	for at := 0; at < n; at += 4096 {
		for i := range 1024 {
			b[at+i] = byte(rnd.Uint64())
		}
	}
	return b
}

// TestVerifyReadsAgain: what was read before the damage does not count.
func TestVerifyReadsAgain(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	stream := ram(1, 1<<20)
	o := stored(t, r, id, stream)
	wantStream(t, r, id, stream) // unpacked, and kept
	names, err := blobtest.Names(t.Context(), store, packPrefix)
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	if err := blobtest.FlipBit(t.Context(), store, names[0], 8000); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(t.Context(), id, "n1", o); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("Verify = %v", err)
	}
}
