package repository

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// crashes runs something that dies at each of its changes of the storage, just
// before and just after it, and lets check look at what is left. It returns the
// changes of a whole run.
func crashes(t *testing.T, fresh func() *blobtest.Memory, run func(*Repository) error, check func(t *testing.T, s blob.Store)) []string {
	t.Helper()
	base := fresh()
	for _, when := range []blobtest.When{blobtest.Before, blobtest.After} {
		for n := 1; ; n++ {
			c := blobtest.Crashing(base.Clone(), n, when)
			err := run(reopen(t, c, Options{Uploads: 1}))
			if !c.Crashed() {
				if err != nil {
					t.Fatal(err)
				}
				if when == blobtest.After {
					return c.Ops()
				}
				break
			}
			ops := c.Ops()
			t.Run(fmt.Sprintf("%s %d %s", when, n, verb(ops[len(ops)-1])), func(t *testing.T) {
				if err == nil {
					t.Error("nobody noticed that the process died")
				}
				check(t, c.Survivor())
			})
		}
	}
	return nil
}

// verb is an operation with the kind of blob only.
func verb(op string) string {
	i := strings.IndexByte(op, '/')
	if i < 0 {
		return op
	}
	return op[:i]
}

// wantKinds checks that a run went through these steps.
func wantKinds(t *testing.T, ops []string, want ...string) {
	t.Helper()
	var got []string
	for _, op := range ops {
		if v := verb(op); len(got) == 0 || got[len(got)-1] != v {
			got = append(got, v)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("steps are %q, want %q", got, want)
	}
}

// TestCrashWriter: whatever a dying writer leaves, committed snapshots are
// whole, its own one is whole or does not exist, it can be tried again, and a
// prune removes the rest.
func TestCrashWriter(t *testing.T) {
	one, two := ram(1, 3<<20), mixed(1, 2)
	fresh := func() *blobtest.Memory {
		m := blobtest.NewMemory()
		stored(t, create(t, m), "etcd-1", one)
		return m
	}
	write := func(r *Repository) error {
		o, err := r.Put(t.Context(), "etcd-2", "n1", bytes.NewReader(two))
		if err != nil {
			return err
		}
		return r.Commit(t.Context(), record("etcd-2", map[snapline.MemberName]snapline.Object{"n1": o}))
	}
	ops := crashes(t, fresh, write, func(t *testing.T, s blob.Store) {
		r := reopen(t, s, Options{})
		wantStream(t, r, "etcd-1", one)
		_, err := r.Snapshot(t.Context(), "etcd-2")
		exists := err == nil
		if exists {
			wantStream(t, r, "etcd-2", two)
		} else if !errors.Is(err, snapline.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
			t.Fatal(err)
		}
		wantClean(t, r)
		wantStream(t, r, "etcd-1", one)
		if !exists {
			if err := write(r); err != nil {
				t.Fatal(err)
			}
		}
		wantStream(t, r, "etcd-2", two)
		wantClean(t, r)
	})
	wantKinds(t, ops, "put packs", "put index", "put roots", "create snapshots")
}

// TestCrashPruner: at no moment of a delete and a prune is a snapshot lost that
// was not to be deleted, and the next prune finishes the work.
func TestCrashPruner(t *testing.T) {
	one, two, three := ram(1, 6<<20), mixed(1, 2), ram(3, 1<<20)
	fresh := func() *blobtest.Memory {
		m := blobtest.NewMemory()
		r := create(t, m)
		stored(t, r, "etcd-1", one)
		stored(t, r, "etcd-2", two)
		stored(t, r, "etcd-3", three)
		if _, err := r.Put(t.Context(), "etcd-4", "n1", bytes.NewReader(ram(4, 1<<20))); err != nil {
			t.Fatal(err)
		}
		return m
	}
	clean := func(r *Repository) error {
		if err := r.Delete(t.Context(), "etcd-1"); err != nil && !errors.Is(err, snapline.ErrNotFound) {
			return err
		}
		rep, err := r.Prune(t.Context(), snapline.PruneOptions{})
		if err == nil && rep.PacksDeleted+rep.PacksRewritten == 0 {
			err = errors.New("there was nothing to prune")
		}
		return err
	}
	ops := crashes(t, fresh, clean, func(t *testing.T, s blob.Store) {
		r := reopen(t, s, Options{})
		wantStream(t, r, "etcd-2", two)
		wantStream(t, r, "etcd-3", three)
		_ = r.Delete(t.Context(), "etcd-1") // it may be gone
		if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
			t.Fatal(err)
		}
		wantClean(t, r)
		wantStream(t, r, "etcd-2", two)
		wantStream(t, r, "etcd-3", three)
		stored(t, r, "etcd-5", one)
		wantStream(t, r, "etcd-5", one)
		wantClean(t, r)
	})
	wantKinds(t, ops, "delete snapshots", "delete roots", "put packs", "put index", "delete index", "delete roots", "delete packs")
}

func TestCrashInit(t *testing.T) {
	for _, when := range []blobtest.When{blobtest.Before, blobtest.After} {
		for n := 1; ; n++ {
			c := blobtest.Crashing(blobtest.NewMemory(), n, when)
			err := Init(t.Context(), c, secret(t))
			if !c.Crashed() {
				break
			}
			if err == nil {
				t.Errorf("%s %d: nobody noticed", when, n)
			}
			err = Init(t.Context(), c.Survivor(), secret(t))
			if err != nil && !errors.Is(err, snapline.ErrExists) {
				t.Errorf("%s %d: init again: %v", when, n, err)
			}
			r := reopen(t, c.Survivor(), Options{})
			stored(t, r, id, []byte("x"))
			if keys, err := r.ListKeys(t.Context()); err != nil || len(keys) != 1 {
				t.Errorf("%s %d: keys %v, %v", when, n, keys, err)
			}
		}
	}
}
