package blobtest

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/snapline/snapline/repository/blob"
)

// FlipBit changes one bit of a stored blob, bit 0 being the lowest of its first
// byte: what a decaying disk does.
func FlipBit(ctx context.Context, s blob.Store, name string, bit int64) error {
	return Damage(ctx, s, name, func(data []byte) ([]byte, error) {
		if bit < 0 || bit/8 >= int64(len(data)) {
			return nil, fmt.Errorf("blob %s has %d bytes and no bit %d", name, len(data), bit)
		}
		data[bit/8] ^= 1 << (bit % 8)
		return data, nil
	})
}

// Truncate cuts a stored blob to size bytes.
func Truncate(ctx context.Context, s blob.Store, name string, size int64) error {
	return Damage(ctx, s, name, func(data []byte) ([]byte, error) {
		if size < 0 || size > int64(len(data)) {
			return nil, fmt.Errorf("blob %s has %d bytes and cannot be cut to %d", name, len(data), size)
		}
		return data[:size], nil
	})
}

// Damage replaces a stored blob by what change makes of it.
func Damage(ctx context.Context, s blob.Store, name string, change func([]byte) ([]byte, error)) error {
	data, err := Read(ctx, s, name)
	if err != nil {
		return err
	}
	if data, err = change(data); err != nil {
		return err
	}
	return s.Put(ctx, name, int64(len(data)), bytes.NewReader(data))
}

// Read returns a whole blob.
func Read(ctx context.Context, s blob.Store, name string) (data []byte, err error) {
	r, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	data, err = io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return data, err
}

// Names returns all names that begin with prefix.
func Names(ctx context.Context, s blob.Store, prefix string) ([]string, error) {
	var names []string
	err := s.List(ctx, prefix, func(name string, _ int64) error {
		names = append(names, name)
		return nil
	})
	return names, err
}
