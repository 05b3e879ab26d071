package repository

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/dir"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
	"github.com/snapline/snapline/repository/location"
	"github.com/snapline/snapline/repotest"
)

// TestOnStores runs the whole suite on real storage, and then keeps one
// repository's life on it: snapshots, a deletion, a prune, another machine.
func TestOnStores(t *testing.T) {
	stores := map[string]func(t *testing.T) blob.Store{
		"dir": func(t *testing.T) blob.Store {
			s, err := dir.Create(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}
	if !testing.Short() {
		server := s3test.Start(t)
		server.Setenv(t)
		stores["s3"] = func(t *testing.T) blob.Store {
			s, err := location.Open(t.Context(), server.Location(t, "a/b"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = blob.Close(s) })
			return s
		}
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Run("suite", func(t *testing.T) {
				repotest.Run(t, func(t *testing.T) snapline.Repository { return create(t, open(t)) })
			})
			t.Run("life", func(t *testing.T) { life(t, open(t)) })
		})
	}
}

func life(t *testing.T, s blob.Store) {
	r := create(t, s)
	var streams [][]byte
	for i := range uint64(3) {
		b := mixed(i+1, i+2)
		streams = append(streams, b)
		stored(t, r, snapline.SnapshotID(fmt.Sprintf("etcd-%d", i+1)), b)
	}
	if err := r.Delete(t.Context(), "etcd-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), "etcd-4", "n1", bytes.NewReader(ram(9, 1<<20))); err != nil { // given up
		t.Fatal(err)
	}
	if rep, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil || rep.RootsDeleted != 1 || rep.PacksDeleted == 0 {
		t.Errorf("prune: %+v, %v", rep, err)
	}
	other := reopen(t, s, Options{CacheBytes: 1 << 30, UploadRate: 50 << 20})
	wantStream(t, other, "etcd-1", streams[0])
	wantStream(t, other, "etcd-3", streams[2])
	stored(t, other, "etcd-5", streams[1])
	wantStream(t, r, "etcd-5", streams[1])
	wantClean(t, r)
	st, err := r.Stats(t.Context())
	if err != nil || st.Snapshots != 3 || st.RawBytes != 3*6<<20 || st.Packs == 0 || st.Objects == 0 || st.Format != Format {
		t.Errorf("stats %+v, %v", st, err)
	}
}

// TestTroubledStore: a store that fails now and then gives errors, never
// damage that is not there nor half a snapshot.
func TestTroubledStore(t *testing.T) {
	good := blobtest.NewMemory()
	stream := ram(1, 3<<20)
	create(t, good)
	for seed := range uint64(20) {
		s := blobtest.Flaky(good.Clone(), blobtest.Sometimes(seed, 0.1))
		r, err := Open(t.Context(), s, secret(t), Options{})
		if err != nil {
			continue
		}
		o, err := r.Put(t.Context(), id, "n1", bytes.NewReader(stream))
		if err == nil {
			err = r.Commit(t.Context(), record(id, map[snapline.MemberName]snapline.Object{"n1": o}))
		}
		if err == nil {
			if got, err := readAll(t, r, id, o); err == nil && !bytes.Equal(got, stream) {
				t.Errorf("seed %d: other bytes", seed)
			}
			for range 50 { // until the store lets it pass
				if err = r.Verify(t.Context(), id, "n1", o); err == nil {
					break
				}
			}
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFullStore says what to do.
func TestFullStore(t *testing.T) {
	s := blobtest.NewMemory()
	r := create(t, s)
	s.SetCapacity(size(t, s) + 1<<20)
	_, err := r.Put(t.Context(), id, "n1", bytes.NewReader(ram(1, 20<<20)))
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("is full; delete snapshots and prune")) {
		t.Errorf("Put = %v", err)
	}
	s.SetCapacity(1 << 30)
	stored(t, r, id, ram(1, 1<<20))
	if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
		t.Error(err)
	}
	wantClean(t, r)
}
