package repository

import (
	"cmp"
	"context"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// near is what r says of id's only member.
func near(t *testing.T, r *Repository, ctx context.Context, id snapline.SnapshotID) snapline.Nearness {
	t.Helper()
	s, err := r.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.Near(ctx, id, s.Members[0])
	if err != nil || n.Bytes < 0 || n.Bytes > n.Of {
		t.Fatalf("near %+v, %v", n, err)
	}
	return n
}

// TestNear: whoever wrote or read a snapshot has it near, others learn nothing
// and fetch nothing by being asked.
func TestNear(t *testing.T) {
	store := blobtest.NewMemory()
	var read atomic.Int64
	create(t, store)
	o := Options{CacheDir: t.TempDir(), CacheBytes: 256 << 20}
	writer := reopen(t, counting{store, &read}, o)
	object := stored(t, writer, id, ram(1, 60<<20))
	all := near(t, writer, t.Context(), id)
	if all.Bytes != all.Of || all.Of < object.StoredBytes*9/10 || all.Of > object.StoredBytes {
		t.Errorf("whoever wrote %d bytes has %+v near", object.StoredBytes, all)
	}
	if n := near(t, reopen(t, store, Options{CacheDir: o.CacheDir}), t.Context(), id); n != (snapline.Nearness{}) {
		t.Errorf("near %+v to a repository that keeps no packs, as on a directory", n)
	}

	reader := reopen(t, counting{store, &read}, Options{CacheDir: t.TempDir(), CacheBytes: 256 << 20})
	if n := near(t, reader, t.Context(), id); n.Bytes != 0 {
		t.Errorf("%+v are near before anything was read", n)
	}
	if read.Load() != 0 {
		t.Errorf("being asked has read %d bytes of packs", read.Load())
	}
	wantStream(t, reader, id, ram(1, 60<<20))
	if n := near(t, reader, t.Context(), id); n != all {
		t.Errorf("near after a read: %+v, want %+v", n, all)
	}

	// The next snapshot shares all but a few pages with this one.
	changed := ram(1, 60<<20)
	copy(changed[30<<20:], ram(2, 1<<20))
	later := snapline.SnapshotID("g-99")
	stored(t, writer, later, changed)
	read.Store(0)
	if n := near(t, reader, t.Context(), later); n.Bytes == n.Of {
		t.Errorf("of a snapshot by somebody else all is near: %+v", n)
	}
	if read.Load() != 0 {
		t.Errorf("being asked has read %d bytes of packs", read.Load())
	}

	ended, end := context.WithCancel(t.Context())
	end()
	if n := near(t, writer, ended, id); n.Bytes != 0 {
		t.Errorf("without any time %+v was found", n)
	}

	largest := slices.MaxFunc(cachedPacks(t, o.CacheDir), func(a, b string) int { return cmp.Compare(length(t, a), length(t, b)) })
	if err := os.Remove(largest); err != nil {
		t.Fatal(err)
	}
	if n := near(t, writer, t.Context(), id); n.Bytes == all.Bytes || read.Load() != 0 {
		t.Errorf("without the largest pack %+v are near, and %d bytes were read", n, read.Load())
	}
}

func length(t *testing.T, file string) int64 {
	t.Helper()
	i, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return i.Size()
}
