package repotest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

func testGiveUp(t *testing.T, r snapline.Repository) {
	o := put(t, r, id, "n1", []byte("x"))
	for range 2 { // again is fine
		if err := r.GiveUp(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	s := Record(id, noon(), map[snapline.MemberName]snapline.Object{"n1": o})
	want(t, "Commit", r.Commit(t.Context(), s), snapline.ErrGivenUp)
	_, err := r.Put(t.Context(), id, "n1", bytes.NewReader([]byte("late")))
	want(t, "Put", err, snapline.ErrGivenUp)
	want(t, "Verify", r.Verify(t.Context(), id, "n1", o), snapline.ErrDamaged)
	_, err = r.Snapshot(t.Context(), id)
	want(t, "Snapshot", err, snapline.ErrNotFound)
	want(t, "Delete", r.Delete(t.Context(), id), snapline.ErrNotFound)
	want(t, "Commit after Delete", r.Commit(t.Context(), s), snapline.ErrGivenUp)
	if ids := list(t, r); len(ids) != 0 {
		t.Errorf("List = %q", ids)
	}
	if err := r.GiveUp(t.Context(), "etcd-8"); err != nil {
		t.Errorf("GiveUp of what nobody has begun: %v", err)
	}
	commit(t, r, "etcd-70", noon())
	want(t, "GiveUp of a snapshot", r.GiveUp(t.Context(), "etcd-70"), snapline.ErrExists)
	if ids := list(t, r); len(ids) != 1 {
		t.Errorf("List = %q", ids)
	}
}

// testGiveUpOrCommit has two coordinators decide at the same time: one of them
// succeeds, and the other one hears of it.
func testGiveUpOrCommit(t *testing.T, r snapline.Repository) {
	for round := range snapline.Round(20) {
		id := snapline.NewSnapshotID("etcd", round+1)
		s := Record(id, noon().Add(time.Duration(round)), map[snapline.MemberName]snapline.Object{"n1": put(t, r, id, "n1", []byte("x"))})
		given := make(chan error, 1)
		go func() { given <- r.GiveUp(t.Context(), id) }()
		committed := r.Commit(t.Context(), s)
		gaveUp := <-given
		_, err := r.Snapshot(t.Context(), id)
		switch {
		case committed == nil && errors.Is(gaveUp, snapline.ErrExists) && err == nil:
			if err := r.Verify(t.Context(), id, "n1", s.Members[0].Object); err != nil {
				t.Error(err)
			}
		case committed != nil && gaveUp == nil && errors.Is(err, snapline.ErrNotFound):
		default:
			t.Errorf("Commit = %v, GiveUp = %v, Snapshot = %v", committed, gaveUp, err)
		}
	}
}
