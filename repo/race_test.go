package repo

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/snapline/snapline"
)

// TestCommitDuringPut: a second attempt of a member must not replace data that
// have become part of a snapshot meanwhile.
func TestCommitDuringPut(t *testing.T) {
	r := create(t)
	o, err := r.Put(t.Context(), id, "n1", bytes.NewReader([]byte("state")))
	if err != nil {
		t.Fatal(err)
	}
	in := io.MultiReader(noise(1000), readFunc(func() {
		if err := r.Commit(t.Context(), record(id, o)); err != nil {
			t.Error(err)
		}
	}))
	if _, err := r.Put(t.Context(), id, "n1", in); !errors.Is(err, snapline.ErrExists) {
		t.Errorf("Put = %v, want ErrExists", err)
	}
	if err := r.Verify(t.Context(), id, "n1", o); err != nil {
		t.Error(err)
	}
	wantTree(t, r.dir, "config.json", "data", "data/etcd-7", "data/etcd-7/n1.zst", "snapshots", "snapshots/etcd-7.json")
}

// TestPutWhileDirectoryVanishes: another member's Put failed and tidied up.
func TestPutWhileDirectoryVanishes(t *testing.T) {
	r := create(t)
	times := 0
	r.step = func(name string) {
		if name == "put: directory made" && times < 2 {
			times++
			if err := os.Remove(r.dataDir(id)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := r.Put(t.Context(), id, "n1", bytes.NewReader(nil)); err != nil || times != 2 {
		t.Errorf("Put = %v after the directory vanished %d times", err, times)
	}
}

// TestLatePutAfterDelete: an agent still storing for a round that was given up.
func TestLatePutAfterDelete(t *testing.T) {
	r := create(t)
	in := io.MultiReader(noise(1000), readFunc(func() {
		if err := r.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
	}))
	if _, err := r.Put(t.Context(), id, "n1", in); err == nil {
		t.Error("Put succeeded though its snapshot was deleted meanwhile")
	}
	wantTree(t, r.dir, "config.json", "data", "snapshots")
}

// TestDeleteAfterUnfinishedDelete: one Delete died, a late Put came, and now
// both are to go.
func TestDeleteAfterUnfinishedDelete(t *testing.T) {
	r := create(t)
	write(t, r.aside(id)+"/n1.zst", "of the first Delete")
	if _, err := r.Put(t.Context(), id, "n1", bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
	wantTree(t, r.dir, "config.json", "data", "snapshots")
}

// TestDeleteDuringCommit: whichever comes first, no record is left without data.
func TestDeleteDuringCommit(t *testing.T) {
	for _, at := range []string{"commit: written", "commit: linked"} {
		t.Run(at, func(t *testing.T) {
			r := create(t)
			o, err := r.Put(t.Context(), id, "n1", bytes.NewReader([]byte("state")))
			if err != nil {
				t.Fatal(err)
			}
			other := open(t, r.dir, Options{})
			r.step = func(name string) {
				if name == at {
					if err := other.Delete(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
			}
			if err := r.Commit(t.Context(), record(id, o)); err == nil {
				t.Error("Commit succeeded though its data is gone")
			}
			wantTree(t, r.dir, "config.json", "data", "snapshots")
		})
	}
}

// TestCommitDuringDelete: the record appears after Delete has looked for it.
func TestCommitDuringDelete(t *testing.T) {
	r := create(t)
	o, err := r.Put(t.Context(), id, "n1", bytes.NewReader([]byte("state")))
	if err != nil {
		t.Fatal(err)
	}
	// A whole Commit between the look for the record and the rename leaves this
	// after the rename.
	content, err := encodeRecord(record(id, o))
	if err != nil {
		t.Fatal(err)
	}
	r.step = func(name string) {
		if name == "delete: set aside" {
			write(t, r.recordFile(id), string(content))
		}
	}
	if err := r.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
	wantTree(t, r.dir, "config.json", "data", "snapshots")
}
