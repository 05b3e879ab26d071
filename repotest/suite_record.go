package repotest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
)

func testCommit(t *testing.T, r snapline.Repository) {
	stream := []byte("the state of n2")
	s := Record(id, noon(), map[snapline.MemberName]snapline.Object{
		"n1": put(t, r, id, "n1", nil), "n2": put(t, r, id, "n2", stream),
	})
	if ids := list(t, r); len(ids) != 0 {
		t.Errorf("List = %q before Commit", ids)
	}
	if err := r.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, err := r.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got); d != "" {
		t.Errorf("the record came back changed (-written +read):\n%s", d)
	}
	if b, err := read(t.Context(), r, id, "n2", got.Member("n2").Object); err != nil || !bytes.Equal(b, stream) {
		t.Errorf("read %q, %v", b, err)
	}
	if ids := list(t, r); !slices.Equal(ids, []snapline.SnapshotID{id}) {
		t.Errorf("List = %q", ids)
	}
}

func testCommitOnce(t *testing.T, r snapline.Repository) {
	objects := map[snapline.MemberName]snapline.Object{"n1": put(t, r, id, "n1", []byte("x"))}
	const writers = 8
	results := make(chan error, writers)
	for i := range writers {
		go func() { results <- r.Commit(t.Context(), Record(id, noon().Add(time.Duration(i)), objects)) }()
	}
	won := 0
	for range writers {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, snapline.ErrExists):
			t.Errorf("Commit = %v, want ErrExists", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d commits succeeded", won, writers)
	}
}

func testCommitIncomplete(t *testing.T, r snapline.Repository) {
	n1 := put(t, r, id, "n1", []byte("x"))
	missing := Record(id, noon(), map[snapline.MemberName]snapline.Object{"n1": n1, "n2": n1})
	want(t, "Commit without n2's data", r.Commit(t.Context(), missing), snapline.ErrDamaged)
	n1.StoredBytes++
	short := Record(id, noon(), map[snapline.MemberName]snapline.Object{"n1": n1})
	want(t, "Commit with other data", r.Commit(t.Context(), short), snapline.ErrDamaged)
	if ids := list(t, r); len(ids) != 0 {
		t.Errorf("List = %q after refused commits", ids)
	}
}

func testCommitUnsound(t *testing.T, r snapline.Repository) {
	o := put(t, r, id, "n1", []byte("x"))
	for name, alter := range map[string]func(*snapline.Snapshot){
		"no format":        func(s *snapline.Snapshot) { s.Format = 0 },
		"newer format":     func(s *snapline.Snapshot) { s.Format++ },
		"other group":      func(s *snapline.Snapshot) { s.Group.Name = "bank" },
		"no members":       func(s *snapline.Snapshot) { s.Members = nil },
		"member twice":     func(s *snapline.Snapshot) { s.Members = append(s.Members, s.Members[0]) },
		"no digest":        func(s *snapline.Snapshot) { s.Members[0].Object.Digest = "" },
		"path as a member": func(s *snapline.Snapshot) { s.Members[0].Name = "../etcd-7/n1" },
	} {
		s := Record(id, noon(), map[snapline.MemberName]snapline.Object{"n1": o})
		alter(&s)
		if err := r.Commit(t.Context(), s); err == nil {
			t.Errorf("Commit with %s was accepted", name)
		}
	}
	if ids := list(t, r); len(ids) != 0 {
		t.Errorf("List = %q after refused commits", ids)
	}
}

func testPutAfterCommit(t *testing.T, r snapline.Repository) {
	s := commit(t, r, id, noon())
	_, err := r.Put(t.Context(), id, "n1", bytes.NewReader([]byte("late")))
	want(t, "Put", err, snapline.ErrExists)
	_, err = r.Put(t.Context(), id, "n9", bytes.NewReader([]byte("late")))
	want(t, "Put of another member", err, snapline.ErrExists)
	if err := r.Verify(t.Context(), id, "n1", s.Members[0].Object); err != nil {
		t.Error(err)
	}
}

func testList(t *testing.T, r snapline.Repository) {
	at := noon()
	commit(t, r, "etcd-10", at.Add(2*time.Second))
	commit(t, r, "bank-1", at.Add(time.Second))
	commit(t, r, "etcd-9", at)
	commit(t, r, "a-b-3", at.Add(3*time.Second).In(time.FixedZone("", 3600)))
	want := []snapline.SnapshotID{"etcd-9", "bank-1", "etcd-10", "a-b-3"}
	if ids := list(t, r); !slices.Equal(ids, want) {
		t.Errorf("List = %q, want %q", ids, want)
	}
}

func testDelete(t *testing.T, r snapline.Repository) {
	s := commit(t, r, id, noon())
	kept := commit(t, r, "etcd-70", noon()) // a longer id of the same beginning
	if err := r.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	_, err := r.Snapshot(t.Context(), id)
	want(t, "Snapshot", err, snapline.ErrNotFound)
	want(t, "Verify", r.Verify(t.Context(), id, "n1", s.Members[0].Object), snapline.ErrDamaged)
	want(t, "second Delete", r.Delete(t.Context(), id), snapline.ErrNotFound)
	if ids := list(t, r); !slices.Equal(ids, []snapline.SnapshotID{kept.ID}) {
		t.Errorf("List = %q", ids)
	}
	if err := r.Verify(t.Context(), kept.ID, "n1", kept.Members[0].Object); err != nil {
		t.Errorf("the other snapshot: %v", err)
	}
}

func testDeleteAborted(t *testing.T, r snapline.Repository) {
	o := put(t, r, id, "n1", []byte("x"))
	if err := r.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	want(t, "second Delete", r.Delete(t.Context(), id), snapline.ErrNotFound)
	s := Record(id, noon(), map[snapline.MemberName]snapline.Object{"n1": o})
	want(t, "Commit of what is deleted", r.Commit(t.Context(), s), snapline.ErrDamaged)
}
