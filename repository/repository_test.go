package repository

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = snapline.SnapshotID("etcd-7")

// secret is a key file: a passphrase would take 100 ms each time.
func secret(t testing.TB) Secret {
	t.Helper()
	s, err := KeyFile(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// create makes a repository in a store; nil is one in memory.
func create(t testing.TB, s blob.Store) *Repository {
	t.Helper()
	if s == nil {
		s = blobtest.NewMemory()
	}
	if err := Init(t.Context(), s, secret(t)); err != nil {
		t.Fatal(err)
	}
	return reopen(t, s, Options{})
}

// reopen opens a repository as another process would.
func reopen(t testing.TB, s blob.Store, o Options) *Repository {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	r, err := Open(t.Context(), s, secret(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func record(id snapline.SnapshotID, objects map[snapline.MemberName]snapline.Object) snapline.Snapshot {
	return repotest.Record(id, time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), objects)
}

// stored puts and commits one member.
func stored(t testing.TB, r *Repository, id snapline.SnapshotID, stream []byte) snapline.Object {
	t.Helper()
	o, err := r.Put(t.Context(), id, "n1", bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(t.Context(), record(id, map[snapline.MemberName]snapline.Object{"n1": o})); err != nil {
		t.Fatal(err)
	}
	return o
}

func readAll(t testing.TB, r *Repository, id snapline.SnapshotID, o snapline.Object) ([]byte, error) {
	t.Helper()
	f, err := r.Open(t.Context(), id, "n1", o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// ram returns bytes that compress about as a guest's memory does: two thirds
// of the pages are zero, the others half random.
func ram(seed uint64, n int) []byte {
	b := make([]byte, n)
	rnd := rand.NewPCG(seed, 1)
	for i := range b {
		if page := i / 4096; page%3 != 0 || i%2 == 0 {
			continue
		}
		b[i] = byte(rnd.Uint64())
	}
	return b
}

func TestRepository(t *testing.T) {
	t.Run("plain", func(t *testing.T) { repotest.Run(t, func(t *testing.T) snapline.Repository { return create(t, nil) }) })
	t.Run("with packs kept", func(t *testing.T) {
		repotest.Run(t, func(t *testing.T) snapline.Repository {
			store := blobtest.NewMemory()
			create(t, store)
			return reopen(t, store, Options{CacheBytes: 64 << 20})
		})
	})
}

func TestTwoReposShareStorage(t *testing.T) {
	store := blobtest.NewMemory()
	a := create(t, store)
	b := reopen(t, store, Options{})
	stream := ram(1, 40<<20)
	first := stored(t, a, "etcd-1", stream)
	second := stored(t, b, "etcd-2", stream)
	if second.StoredBytes > 4096 {
		t.Errorf("the same again takes %d bytes", second.StoredBytes)
	}
	for _, x := range []struct {
		r  *Repository
		id snapline.SnapshotID
		o  snapline.Object
	}{{a, "etcd-1", first}, {a, "etcd-2", second}, {b, "etcd-1", first}} {
		if got, err := readAll(t, x.r, x.id, x.o); err != nil || !bytes.Equal(got, stream) {
			t.Errorf("%s: %d bytes, %v", x.id, len(got), err)
		}
	}
}
