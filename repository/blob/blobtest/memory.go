package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/snapline/snapline/repository/blob"
)

var _ blob.Store = (*Memory)(nil)

// Memory is a blob.Store in memory. Safe for use from several goroutines.
type Memory struct {
	mu       sync.Mutex
	blobs    map[string][]byte // values are never changed, only replaced
	used     int64
	capacity int64 // -1: without end
}

// NewMemory returns an empty store without a limit.
func NewMemory() *Memory {
	return &Memory{blobs: map[string][]byte{}, capacity: -1}
}

// SetCapacity makes the store full at so many bytes over all blobs; what there
// is stays. Below zero is no limit.
func (m *Memory) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Clone returns an independent copy: the state to go back to in a crash test.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{blobs: maps.Clone(m.blobs), used: m.used, capacity: m.capacity}
}

func (m *Memory) String() string { return "memory" }

// Put reads the whole source before it takes the name.
func (m *Memory) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	if err := errors.Join(ctx.Err(), blob.CheckPut(name, size, r)); err != nil {
		return err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set("put", name, data)
}

// Create takes the name unless somebody has it.
func (m *Memory) Create(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.blobs[name]; ok {
		return fmt.Errorf("create %s: %w", name, blob.ErrExists)
	}
	return m.set("create", name, bytes.Clone(data))
}

// set is called with the lock held.
func (m *Memory) set(verb, name string, data []byte) error {
	after := m.used - int64(len(m.blobs[name])) + int64(len(data))
	if m.capacity >= 0 && after > m.capacity {
		return fmt.Errorf("%s %s: memory: %w", verb, name, blob.ErrFull)
	}
	m.blobs[name], m.used = data, after
	return nil
}

// Get reads the blob as it is now.
func (m *Memory) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := errors.Join(ctx.Err(), blob.CheckRange(name, off)); err != nil {
		return nil, err
	}
	data, err := m.find("get", name)
	if err != nil {
		return nil, err
	}
	size := int64(len(data))
	if off > size || n > size-off {
		return nil, fmt.Errorf("get %s: bytes from %d, %d of them, of %d: %w", name, off, n, size, blob.ErrShort)
	}
	if n < 0 {
		n = size - off
	}
	return io.NopCloser(bytes.NewReader(data[off : off+n])), nil
}

// Size returns a blob's length.
func (m *Memory) Size(ctx context.Context, name string) (int64, error) {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return 0, err
	}
	data, err := m.find("size", name)
	return int64(len(data)), err
}

func (m *Memory) find(verb, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[name]
	if !ok {
		return nil, fmt.Errorf("%s %s: %w", verb, name, blob.ErrNotFound)
	}
	return data, nil
}

// List calls each without holding the lock: it may call any method.
func (m *Memory) List(ctx context.Context, prefix string, each func(name string, size int64) error) error {
	if err := blob.CheckPrefix(prefix); err != nil {
		return err
	}
	m.mu.Lock()
	now := maps.Clone(m.blobs)
	m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := each(name, int64(len(now[name]))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Delete forgets the blob.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= int64(len(m.blobs[name]))
	delete(m.blobs, name)
	return nil
}

// Free is what is left of the capacity.
func (m *Memory) Free(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity < 0 {
		return -1, nil
	}
	return max(m.capacity-m.used, 0), nil
}
