package repotest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/snapline/snapline"
)

var _ snapline.Repository = (*Memory)(nil)

// memorySize is what Memory says that it can hold, in bytes.
const memorySize = 1 << 40

// Memory is a snapline.Repository in memory. It stores streams as they are.
type Memory struct {
	id string

	mu      sync.Mutex
	data    map[snapline.SnapshotID]map[string][]byte // by member, or MEMBER.DISK
	written map[string][]bool                         // pages of disks
	records map[snapline.SnapshotID][]byte            // JSON, so that nothing is shared
	givenUp map[snapline.SnapshotID]bool
}

// NewMemory returns an empty repository with an id of its own.
func NewMemory() *Memory {
	return &Memory{
		id:      rand.Text(),
		data:    map[snapline.SnapshotID]map[string][]byte{},
		written: map[string][]bool{},
		records: map[snapline.SnapshotID][]byte{},
		givenUp: map[snapline.SnapshotID]bool{},
	}
}

// ID implements snapline.Repository.
func (r *Memory) ID() string { return r.id }

// Free implements snapline.Repository.
func (r *Memory) Free(ctx context.Context) (int64, error) { return memorySize, ctx.Err() }

// Put implements snapline.Repository.
func (r *Memory) Put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	var none snapline.Object
	if err := check(ctx, id, m); err != nil {
		return none, err
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return none, fmt.Errorf("store %s of %s: %w", m, id, err)
	}
	return r.put(id, string(m), b)
}

// put keeps b as an object of a snapshot.
func (r *Memory) put(id snapline.SnapshotID, m string, b []byte) (snapline.Object, error) {
	var none snapline.Object
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.absent(id); err != nil {
		return none, fmt.Errorf("store %s of %s: %w", m, id, err)
	}
	if r.data[id] == nil {
		r.data[id] = map[string][]byte{}
	}
	r.data[id][m] = b
	return describe(b), nil
}

// Open implements snapline.Repository. It finds damage at once.
func (r *Memory) Open(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) (io.ReadCloser, error) {
	b, err := r.verified(ctx, id, m, string(m), o)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Verify implements snapline.Repository.
func (r *Memory) Verify(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) error {
	_, err := r.verified(ctx, id, m, string(m), o)
	return err
}

func (r *Memory) verified(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, object string, o snapline.Object) ([]byte, error) {
	if err := check(ctx, id, m); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.data[id][object]
	if !ok || describe(b) != o {
		return nil, fmt.Errorf("read %s of %s: %w", object, id, snapline.ErrDamaged)
	}
	return bytes.Clone(b), nil
}

// Commit implements snapline.Repository.
func (r *Memory) Commit(ctx context.Context, s snapline.Snapshot) error {
	if err := check(ctx, s.ID); err != nil {
		return err
	}
	record, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("commit %s: %w", s.ID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.absent(s.ID); err != nil {
		return fmt.Errorf("commit %s: %w", s.ID, err)
	}
	if err := r.complete(s); err != nil {
		return fmt.Errorf("commit %s: %w", s.ID, err)
	}
	r.records[s.ID] = record
	return nil
}

// absent needs the lock.
func (r *Memory) absent(id snapline.SnapshotID) error {
	switch _, ok := r.records[id]; {
	case ok:
		return snapline.ErrExists
	case r.givenUp[id]:
		return snapline.ErrGivenUp
	}
	return nil
}

// complete needs the lock.
func (r *Memory) complete(s snapline.Snapshot) error {
	group, _, _ := s.ID.Split()
	if s.Format != snapline.SnapshotFormat || s.Group.Name != group || len(s.Members) == 0 {
		return fmt.Errorf("format %d, group %q, %d members", s.Format, s.Group.Name, len(s.Members))
	}
	for i, m := range s.Members {
		b, ok := r.data[s.ID][string(m.Name)]
		if e := m.Evidence; e != nil {
			if trace, ok := r.data[s.ID][diskObject(m.Name, snapline.TraceName)]; !ok || describe(trace) != e.Trace {
				return fmt.Errorf("evidence of %s: %w", m.Name, snapline.ErrDamaged)
			}
		}
		for name, o := range m.DiskObjects() {
			if disk, ok := r.data[s.ID][diskObject(m.Name, name)]; !ok || describe(disk) != o {
				return fmt.Errorf("disk %s of %s: %w", name, m.Name, snapline.ErrDamaged)
			}
		}
		switch {
		case s.Member(m.Name) != &s.Members[i]:
			return fmt.Errorf("member %s is there twice", m.Name)
		case len(m.Object.Digest) != hex.EncodedLen(sha256.Size):
			return fmt.Errorf("member %s: %q is not a SHA-256 digest", m.Name, m.Object.Digest)
		case !ok || int64(len(b)) != m.Object.StoredBytes:
			return fmt.Errorf("data of %s: %w", m.Name, snapline.ErrDamaged)
		}
	}
	return nil
}

// Snapshot implements snapline.Repository.
func (r *Memory) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	if err := check(ctx, id); err != nil {
		return snapline.Snapshot{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot(id)
}

// snapshot needs the lock.
func (r *Memory) snapshot(id snapline.SnapshotID) (snapline.Snapshot, error) {
	var s snapline.Snapshot
	record, ok := r.records[id]
	if !ok {
		return s, fmt.Errorf("snapshot %s: %w", id, snapline.ErrNotFound)
	}
	if err := json.Unmarshal(record, &s); err != nil {
		return snapline.Snapshot{}, fmt.Errorf("record of snapshot %s: %w: %w", id, snapline.ErrDamaged, err)
	}
	return s, nil
}

// List implements snapline.Repository.
func (r *Memory) List(ctx context.Context) ([]snapline.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []snapline.Snapshot
	var errs []error
	for id := range r.records {
		s, err := r.snapshot(id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b snapline.Snapshot) int { return a.TakenAt.Compare(b.TakenAt) })
	return list, errors.Join(errs...)
}

// Delete implements snapline.Repository.
func (r *Memory) Delete(ctx context.Context, id snapline.SnapshotID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, record := r.records[id]
	_, data := r.data[id]
	if !record && !data {
		return fmt.Errorf("delete %s: %w", id, snapline.ErrNotFound)
	}
	delete(r.records, id)
	delete(r.data, id)
	return nil
}

// GiveUp implements snapline.Repository.
func (r *Memory) GiveUp(ctx context.Context, id snapline.SnapshotID) error {
	if err := check(ctx, id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.absent(id); errors.Is(err, snapline.ErrExists) {
		return fmt.Errorf("give up %s: %w", id, err)
	}
	r.givenUp[id] = true
	delete(r.data, id)
	return nil
}

// Damage alters one byte of a member's stored data, which must not be empty.
func (r *Memory) Damage(id snapline.SnapshotID, m snapline.MemberName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.data[id][string(m)]
	b[len(b)/2] ^= 1
}

// DamageRecord makes a record unreadable.
func (r *Memory) DamageRecord(id snapline.SnapshotID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[id] = r.records[id][:len(r.records[id])/2]
}

func describe(b []byte) snapline.Object {
	sum := sha256.Sum256(b)
	return snapline.Object{Digest: hex.EncodeToString(sum[:]), RawBytes: int64(len(b)), StoredBytes: int64(len(b))}
}

func check(ctx context.Context, id snapline.SnapshotID, members ...snapline.MemberName) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, _, err := id.Split(); err != nil {
		return err
	}
	for _, m := range members {
		if err := snapline.CheckName("member", string(m)); err != nil {
			return err
		}
	}
	return nil
}
