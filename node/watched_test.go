package node_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/snapline/snapline"
)

// watchedRepo is a repository that tells what it holds and can be damaged.
type watchedRepo struct {
	snapline.Repository
	mu      sync.Mutex
	held    map[snapline.SnapshotID]int
	damaged map[string]bool
	failPut atomic.Bool // of disks
	// slowPut lets a Put write at the last moment: when its caller gives up.
	slowPut atomic.Bool
	putting atomic.Int32 // slow ones under way
	upkeep  maintenance
}

func (r *watchedRepo) PutDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, d snapline.DiskContent) (snapline.Object, error) {
	if r.failPut.Load() {
		return snapline.Object{}, errFull
	}
	return r.Repository.PutDisk(ctx, id, m, name, d)
}

func (r *watchedRepo) Put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	if r.slowPut.Load() {
		r.putting.Add(1)
		<-ctx.Done()
		r.hold(id)
		return snapline.Object{}, ctx.Err()
	}
	o, err := r.Repository.Put(ctx, id, m, in)
	if err == nil {
		r.hold(id)
	}
	return o, err
}

func (r *watchedRepo) hold(id snapline.SnapshotID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[id]++
}

func (r *watchedRepo) GiveUp(ctx context.Context, id snapline.SnapshotID) error {
	err := r.Repository.GiveUp(ctx, id)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.held, id)
	}
	return err
}

func (r *watchedRepo) Delete(ctx context.Context, id snapline.SnapshotID) error {
	err := r.Repository.Delete(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, id)
	return err
}

func (r *watchedRepo) Verify(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) error {
	r.mu.Lock()
	bad := r.damaged[string(id)+"/"+string(m)]
	r.mu.Unlock()
	if bad {
		return fmt.Errorf("%s of %s: %w", m, id, snapline.ErrDamaged)
	}
	return r.Repository.Verify(ctx, id, m, o)
}

// repoHolds reports whether data of the snapshot is stored, committed or not.
func (s *site) repoHolds(id snapline.SnapshotID) bool { return s.stored(id) > 0 }

// stored counts a snapshot's members whose state is stored.
func (s *site) stored(id snapline.SnapshotID) int {
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	return s.repo.held[id]
}

func (s *site) damage(id snapline.SnapshotID, m snapline.MemberName) {
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	s.repo.damaged[string(id)+"/"+string(m)] = true
}
