// Package blob is what a repository needs of storage: named byte strings that
// are written once. Backends are in the folders below; package blobtest holds
// the suite that each of them passes.
package blob

import (
	"context"
	"errors"
	"io"
)

// Store keeps blobs under names: parts of a-z, A-Z, 0-9, '-', '_' and '.',
// joined by '/'. All methods may be called from several goroutines and
// processes. When Put and Create have returned nil the blob is durable and
// every reader sees the whole of it; before, none sees any.
type Store interface {
	// Put writes a blob of exactly size bytes, replacing one of that name. The
	// reader may be read more than once, from its start, after a broken
	// connection.
	Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error
	// Create writes a small blob only if there is none of that name: ErrExists.
	Create(ctx context.Context, name string, data []byte) error
	// Get reads n bytes from offset off; n < 0 reads to the end. ErrNotFound
	// when there is no such blob; a range beyond the end is ErrShort.
	Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	// Size returns a blob's length, or ErrNotFound.
	Size(ctx context.Context, name string) (int64, error)
	// List calls each for every blob whose name begins with prefix, in order of
	// names, until it returns an error, which List then returns.
	List(ctx context.Context, prefix string, each func(name string, size int64) error) error
	// Delete removes a blob; none is no error.
	Delete(ctx context.Context, name string) error
	// Free returns how many bytes can still be written, or -1 when nobody knows.
	Free(ctx context.Context) (int64, error)
	// String is the store's location without secrets, for messages.
	String() string
}

// Errors that callers branch on; backends wrap them.
var (
	ErrNotFound = errors.New("no such blob")
	ErrExists   = errors.New("the blob exists already")
	ErrShort    = errors.New("the blob is shorter than that")
	ErrFull     = errors.New("no space left")
)
