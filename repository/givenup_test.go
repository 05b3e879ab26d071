package repository

import (
	"errors"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

// TestPruneForgetsGivenUp: the line stays for a week, and no check minds it.
func TestPruneForgetsGivenUp(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	if err := r.GiveUp(t.Context(), "etcd-1"); err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context(), manifestName("etcd-2"), givenUpText(time.Now().Add(-givenUpFor-time.Hour))); err != nil {
		t.Fatal(err)
	}
	wantClean(t, r)
	if _, err := r.Prune(t.Context(), snapline.PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Size(t.Context(), manifestName("etcd-1")); err != nil {
		t.Errorf("the line of today: %v", err)
	}
	if _, err := store.Size(t.Context(), manifestName("etcd-2")); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("the line of last week: %v", err)
	}
}

// TestTruncatedRecordIsDamage: no record is taken for a round that was given up
// because of its length.
func TestTruncatedRecordIsDamage(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	if err := store.Create(t.Context(), manifestName("etcd-1"), make([]byte, givenUpSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Snapshot(t.Context(), "etcd-1"); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("Snapshot = %v", err)
	}
	if _, err := r.List(t.Context()); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("List = %v", err)
	}
}
