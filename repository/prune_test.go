package repository

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// wantClean checks that nothing is damaged and nothing is unused.
func wantClean(t *testing.T, r *Repository) {
	t.Helper()
	c, err := r.Check(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Problems) > 0 || c.Unused > 0 {
		t.Errorf("check says %+v", c)
	}
}

func wantStream(t *testing.T, r *Repository, id snapline.SnapshotID, want []byte) {
	t.Helper()
	s, err := r.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, r, id, s.Members[0].Object)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: read %d bytes, %v", id, len(got), err)
	}
}

func size(t *testing.T, s blob.Store) (sum int64) {
	t.Helper()
	if err := s.List(t.Context(), "", func(_ string, n int64) error {
		sum += n
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return sum
}

// mixed has a third of one image and two thirds of another.
func mixed(a, b uint64) []byte {
	x, y := ram(a, 6<<20), ram(b, 6<<20)
	return slices.Concat(x[:2<<20], y[2<<20:])
}

func TestPrune(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	one, two, three := ram(1, 6<<20), mixed(1, 2), mixed(2, 3)
	stored(t, r, "etcd-1", one)
	stored(t, r, "etcd-2", two)
	alone := size(t, store)
	stored(t, r, "etcd-3", three)
	given, err := r.Put(t.Context(), "etcd-4", "n1", bytes.NewReader(ram(4, 6<<20))) // given up
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil || rep.RootsDeleted != 1 || rep.PacksDeleted != 1 || rep.BytesDeleted < given.StoredBytes*9/10 {
		t.Errorf("prune of a round given up: %+v, %v; it took %d", rep, err, given.StoredBytes)
	}
	wantClean(t, r)
	if err := r.Delete(t.Context(), "etcd-3"); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "etcd-1"); err != nil {
		t.Fatal(err)
	}
	before := size(t, store)
	dry, err := r.Prune(t.Context(), snapline.PruneOptions{DryRun: true})
	if err != nil || dry.PacksDeleted != 1 || dry.PacksRewritten != 1 {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if size(t, store) != before {
		t.Error("a dry run changed something")
	}
	wantStream(t, r, "etcd-2", two)
	rep, err := r.Prune(t.Context(), snapline.PruneOptions{})
	if err != nil || rep.PacksDeleted != 1 || rep.PacksRewritten != 1 {
		t.Errorf("prune: %+v, %v", rep, err)
	}
	if d := rep.BytesWritten - dry.BytesWritten; d < -64<<10 || d > 64<<10 {
		t.Errorf("wrote %d bytes, %d were announced", rep.BytesWritten, dry.BytesWritten)
	}
	if after := size(t, store); after > alone*2/3 {
		t.Errorf("%d bytes are left of %d", after, before)
	}
	wantStream(t, r, "etcd-2", two)
	wantStream(t, reopen(t, store, Options{}), "etcd-2", two)
	wantClean(t, r)
	if again, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil || again.PacksDeleted+again.PacksRewritten > 0 {
		t.Errorf("a second prune: %+v, %v", again, err)
	}
	if err := r.Delete(t.Context(), "etcd-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	names, err := blobtest.Names(t.Context(), store, "")
	if err != nil || len(names) != 2 {
		t.Errorf("of an empty repository is left %q, %v; want config and one key", names, err)
	}
}

// TestReadersSurvivePrune: a stream that is open while packs are rewritten goes
// on with the new ones, and so does another process with an old local index.
func TestReadersSurvivePrune(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	reader := reopen(t, store, Options{Reads: 1})
	one, two := ram(1, 48<<20), slices.Concat(ram(1, 48<<20)[:16<<20], ram(2, 32<<20))
	stored(t, r, "etcd-1", one)
	o := stored(t, r, "etcd-2", two)
	f, err := reader.Open(t.Context(), "etcd-2", "n1", o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 1<<20)
	if _, err := io.ReadFull(f, head); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "etcd-1"); err != nil {
		t.Fatal(err)
	}
	if rep, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil || rep.PacksRewritten == 0 {
		t.Fatalf("prune: %+v, %v", rep, err)
	}
	rest, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(slices.Concat(head, rest), two) {
		t.Errorf("read %d bytes, %v", len(head)+len(rest), err)
	}
}

// TestPruneRefusesDamage: what cannot be read could lead to pages that are needed.
func TestPruneRefusesDamage(t *testing.T) {
	for _, prefix := range []string{packPrefix, indexPrefix, rootPrefix} {
		store := blobtest.NewMemory()
		r := create(t, store)
		stored(t, r, "etcd-1", ram(1, 1<<20))
		stored(t, r, "etcd-2", ram(2, 1<<20))
		names, err := blobtest.Names(t.Context(), store, prefix)
		if err != nil || len(names) != 2 {
			t.Fatalf("%q, %v", names, err)
		}
		if err := store.Delete(t.Context(), names[0]); err != nil {
			t.Fatal(err)
		}
		if prefix == rootPrefix {
			if err := store.Put(t.Context(), names[0], 1, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		before := size(t, store)
		if _, err := reopen(t, store, Options{}).Prune(t.Context(), snapline.PruneOptions{}); err == nil {
			t.Errorf("prune without %s: no error", names[0])
		}
		if size(t, store) != before {
			t.Errorf("prune without %s changed something", names[0])
		}
	}
}

func TestManyIndexesArePutTogether(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	var want [][]byte
	for i := range maxIndexes + 5 {
		b := ram(uint64(i), 20<<10)
		want = append(want, b)
		stored(t, r, snapline.SnapshotID(fmt.Sprintf("etcd-%d", i+1)), b)
	}
	if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	names, err := blobtest.Names(t.Context(), store, indexPrefix)
	if err != nil || len(names) != 1 {
		t.Errorf("%d indexes, %v", len(names), err)
	}
	for i, b := range want {
		wantStream(t, r, snapline.SnapshotID(fmt.Sprintf("etcd-%d", i+1)), b)
	}
	wantClean(t, r)
}

// TestCheckDuringPrune has a prune come at each step of a check in turn, and at
// every one: what has moved is not damage.
func TestCheckDuringPrune(t *testing.T) {
	fresh := func() (*blobtest.Memory, *Repository) {
		store := blobtest.NewMemory()
		r := create(t, store)
		stored(t, r, "etcd-1", ram(1, 2<<20))
		stored(t, r, "etcd-2", slices.Concat(ram(1, 2<<20)[:256<<10], ram(2, 1<<20)))
		return store, r
	}
	steps := 0
	{
		store, _ := fresh()
		counting := blobtest.Flaky(store, func(blobtest.Op, string) (none blobtest.Fault) { steps++; return none })
		if _, err := reopen(t, counting, Options{}).Check(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	for at := range steps + 1 {
		store, r := fresh()
		n := 0
		check := reopen(t, blobtest.Flaky(store, func(blobtest.Op, string) (none blobtest.Fault) {
			if n++; n == at {
				if err := r.Delete(t.Context(), "etcd-1"); err != nil {
					t.Error(err)
				}
				if rep, err := r.Prune(t.Context(), snapline.PruneOptions{MaxWaste: 0.01}); err != nil || rep.PacksRewritten+rep.PacksDeleted == 0 {
					t.Errorf("prune: %+v, %v", rep, err)
				}
			}
			return none
		}), Options{})
		if c, err := check.Check(t.Context(), true); err != nil || len(c.Problems) > 0 {
			t.Errorf("pruned at step %d of %d: %v, %v", at, steps, c.Problems, err)
		}
	}

	// One that never ends is said to be in the way, and not to be damage.
	store, r := fresh()
	last := snapline.SnapshotID("etcd-1")
	next := 3
	check := reopen(t, blobtest.Flaky(store, func(op blobtest.Op, name string) (none blobtest.Fault) {
		if !strings.HasPrefix(name, packPrefix) || name == packPrefix {
			return none
		}
		if err := r.Delete(t.Context(), last); err != nil {
			t.Error(err)
		}
		last = snapline.SnapshotID(fmt.Sprintf("etcd-%d", next))
		next++
		stored(t, r, last, ram(uint64(next), 256<<10))
		if _, err := r.Prune(t.Context(), snapline.PruneOptions{MaxWaste: 0.01}); err != nil {
			t.Error(err)
		}
		return none
	}), Options{})
	var e *snapline.Error
	if _, err := check.Check(t.Context(), true); !errors.As(err, &e) || e.Code != snapline.CodeBusy {
		t.Errorf("pruned all the time: %v", err)
	}
}
