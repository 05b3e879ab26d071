package repository

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// move takes a blob away from one store and returns a function that puts it
// into another.
func move(t *testing.T, s blob.Store, name string) (put func(blob.Store)) {
	t.Helper()
	b, err := blobtest.Read(t.Context(), s, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return func(to blob.Store) {
		if err := to.Put(t.Context(), name, int64(len(b)), bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
}

func names(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	list, err := blobtest.Names(t.Context(), s, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestLateIndex: a writer that everybody has given up writes its index when a
// prune has deleted its packs. What it tells of must not be taken for stored.
func TestLateIndex(t *testing.T) {
	stream := ram(1, 6<<20)
	store := blobtest.NewMemory()
	other := stored(t, create(t, store), "other-1", ram(2, 1<<20))

	before := names(t, store, indexPrefix)
	zombie := reopen(t, store, Options{})
	lost, err := zombie.Put(t.Context(), "etcd-1", "n1", bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	// Somebody has learned of the packs already, by whatever came early.
	knows := reopen(t, store, Options{})
	if err := knows.syncIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	var late func(blob.Store)
	for _, name := range names(t, store, indexPrefix) {
		if name != before[0] {
			late = move(t, store, name)
		}
	}
	if rep, err := reopen(t, store, Options{}).Prune(t.Context(), snapline.PruneOptions{}); err != nil || rep.PacksDeleted == 0 || rep.RootsDeleted != 1 {
		t.Fatalf("prune: %+v, %v", rep, err)
	}
	late(store)

	for name, r := range map[string]*Repository{
		"fresh": reopen(t, store, Options{}), "knew the packs": knows, "the zombie itself": zombie,
	} {
		t.Run(name, func(t *testing.T) {
			own := store.Clone()
			r.store = own
			if c, err := reopen(t, own, Options{}).Check(t.Context(), true); err != nil || len(c.Problems) > 0 {
				t.Errorf("a late index is no damage: %+v, %v", c, err)
			}
			o := stored(t, r, "etcd-2", stream)
			if o.StoredBytes < lost.StoredBytes*9/10 {
				t.Errorf("%d bytes were stored, %d are needed", o.StoredBytes, lost.StoredBytes)
			}
			last := reopen(t, own, Options{})
			for _, verify := range []func() error{
				func() error { return last.VerifyQuick(t.Context(), "etcd-2", "n1", o) },
				func() error { return last.Verify(t.Context(), "etcd-2", "n1", o) },
				func() error { return last.Verify(t.Context(), "other-1", "n1", other) },
			} {
				if err := verify(); err != nil {
					t.Error(err)
				}
			}
			wantStream(t, last, "etcd-2", stream)
			wantClean(t, last)
			if _, err := last.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
				t.Errorf("prune with a late index: %v", err)
			}
			wantStream(t, last, "etcd-2", stream)
			wantClean(t, last)
			for _, src := range names(t, own, indexPrefix) {
				packs, err := last.fetchIndex(t.Context(), [16]byte(mustHex(t, src)))
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range packs {
					if _, err := own.Size(t.Context(), packName(p.ID)); err != nil {
						t.Errorf("after a prune %s tells of %s: %v", src, packName(p.ID), err)
					}
				}
			}
		})
	}
}

func mustHex(t *testing.T, name string) []byte {
	t.Helper()
	id, ok := parseHex(name, indexPrefix)
	if !ok {
		t.Fatalf("%s is no index", name)
	}
	return id[:]
}

// TestPackBroughtBack: a machine that has learned that a pack is missing finds
// it when somebody has put it back.
func TestPackBroughtBack(t *testing.T) {
	store := blobtest.NewMemory()
	stream := ram(1, 1<<20)
	o := stored(t, create(t, store), "etcd-1", stream)
	cache := t.TempDir()
	back := move(t, store, names(t, store, packPrefix)[0])
	r := reopen(t, store, Options{CacheDir: cache})
	if err := r.Verify(t.Context(), "etcd-1", "n1", o); err == nil {
		t.Fatal("nobody notices that a pack is missing")
	}
	lost, err := r.Lost(t.Context(), "etcd-1", "n1", "")
	if err != nil || len(lost) == 0 || lost[0].Snapshot != "etcd-1" || lost[0].Object != "n1" {
		t.Errorf("lost: %+v, %v", lost, err)
	}
	if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err == nil {
		t.Error("prune does not refuse to work without a pack that is needed")
	}
	back(store)
	if err := r.Verify(t.Context(), "etcd-1", "n1", o); err != nil {
		t.Error(err)
	}
	if lost, err := r.Lost(t.Context(), "etcd-1", "n1", ""); err != nil || len(lost) > 0 {
		t.Errorf("lost: %+v, %v", lost, err)
	}
	if _, err := reopen(t, store, Options{CacheDir: cache}).Prune(t.Context(), snapline.PruneOptions{}); err != nil {
		t.Error(err)
	}
	wantStream(t, r, "etcd-1", stream)
}

// TestPruneInSteps: each call writes its share anew and leaves the repository
// whole; the last one says that there is no more.
func TestPruneInSteps(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	var keep []snapline.SnapshotID
	for i := range 3 { // three packs, of which a half each is needed later
		n := snapline.Round(2*i + 1)
		both := ram(uint64(10+i), 4<<20)
		stored(t, r, snapline.NewSnapshotID("etcd", n), both)
		keep = append(keep, snapline.NewSnapshotID("etcd", n+1))
		stored(t, r, keep[i], both[:2<<20])
		if err := r.Delete(t.Context(), snapline.NewSnapshotID("etcd", n)); err != nil {
			t.Fatal(err)
		}
	}
	steps, asked := 0, 0
	for more := true; more; steps++ {
		rep, err := r.Prune(t.Context(), snapline.PruneOptions{MaxRewrite: 1, Allowed: func(context.Context) error { asked++; return nil }})
		if err != nil || steps > 10 {
			t.Fatalf("step %d: %+v, %v", steps, rep, err)
		}
		if more = rep.More; rep.PacksRewritten > 1 {
			t.Errorf("a step wrote %d packs anew", rep.PacksRewritten)
		}
		for i, id := range keep {
			wantStream(t, r, id, ram(uint64(10+i), 4<<20)[:2<<20])
		}
	}
	if steps != 3 || asked < steps {
		t.Errorf("%d steps, which asked %d times", steps, asked)
	}
	wantClean(t, r)
}

// TestPruneNotAllowed deletes nothing.
func TestPruneNotAllowed(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	stored(t, r, "etcd-1", ram(1, 1<<20))
	if err := r.Delete(t.Context(), "etcd-1"); err != nil {
		t.Fatal(err)
	}
	packs := names(t, store, packPrefix)
	other := errors.New("somebody else has it")
	if _, err := r.Prune(t.Context(), snapline.PruneOptions{Allowed: func(context.Context) error { return other }}); !errors.Is(err, other) {
		t.Errorf("prune: %v", err)
	}
	if left := names(t, store, packPrefix); len(left) != len(packs) {
		t.Errorf("packs %q, then %q", packs, left)
	}
	if _, err := r.RepairIndex(t.Context(), func(context.Context) error { return other }); !errors.Is(err, other) {
		t.Errorf("repair: %v", err)
	}
}

// TestZerosHideTheBackingFile: where a disk has zeros they come back as zeros,
// and where it has nothing, nothing does.
func TestZerosHideTheBackingFile(t *testing.T) {
	r := create(t, nil)
	const p = snapline.PageSize
	page := bytes.Repeat([]byte("page"), p/4)
	o, err := r.PutDisk(t.Context(), "etcd-1", "n1", "vda", snapline.DiskContent{Size: 10*p + 512, Extents: extents(
		data(p, page), snapline.Extent{Offset: 2 * p, Length: 2 * p}, data(5*p, make([]byte, p)), snapline.Extent{Offset: 10 * p, Length: 512})})
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.OpenDisk(t.Context(), "etcd-1", "n1", "vda", o)
	if err != nil {
		t.Fatal(err)
	}
	var got []snapline.Extent
	for e, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		e.Data = bytes.Clone(e.Data)
		got = append(got, e)
	}
	want := []snapline.Extent{data(p, page), {Offset: 2 * p, Length: 2 * p}, {Offset: 5 * p, Length: p}, {Offset: 10 * p, Length: 512}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("extents (-want +got):\n%s", diff)
	}
}
