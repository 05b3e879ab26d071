package blobtest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/snapline/snapline/repository/blob"
)

// Op is a method of blob.Store.
type Op string

const (
	Put    Op = "put"
	Create Op = "create"
	Get    Op = "get"
	Size   Op = "size"
	List   Op = "list"
	Delete Op = "delete"
	Free   Op = "free"
)

// ErrFlaky is the error of a fault that has no better one.
var ErrFlaky = errors.New("the storage had a bad moment")

// Fault says what goes wrong with one call; the zero value: nothing.
type Fault struct {
	// Err is what the call returns, before it does anything.
	Err error
	// Late lets the call take effect first. A late Get breaks with Err after
	// half of its bytes; a late List after half of its names.
	Late bool
}

// Flaky asks before each call what is to go wrong with it; fault may be called
// from several goroutines.
func Flaky(s blob.Store, fault func(op Op, name string) Fault) blob.Store {
	return &flaky{store: s, fault: fault}
}

// Sometimes fails that share of the calls, half of them late. The same seed
// gives the same faults to the same sequence of calls.
func Sometimes(seed uint64, share float64) func(Op, string) Fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	return func(Op, string) Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.Float64() >= share {
			return Fault{}
		}
		return Fault{Err: ErrFlaky, Late: r.IntN(2) == 0}
	}
}

type flaky struct {
	store blob.Store
	fault func(Op, string) Fault
}

// do makes a call that returns nothing but an error.
func (f *flaky) do(op Op, name string, call func() error) error {
	fault := f.fault(op, name)
	if fault.Err == nil {
		return call()
	}
	if fault.Late {
		// The answer was lost, whatever it was.
		_ = call()
	}
	return fault.Err
}

func (f *flaky) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	return f.do(Put, name, func() error { return f.store.Put(ctx, name, size, r) })
}

func (f *flaky) Create(ctx context.Context, name string, data []byte) error {
	return f.do(Create, name, func() error { return f.store.Create(ctx, name, data) })
}

func (f *flaky) Delete(ctx context.Context, name string) error {
	return f.do(Delete, name, func() error { return f.store.Delete(ctx, name) })
}

func (f *flaky) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	fault := f.fault(Get, name)
	if fault.Err == nil {
		return f.store.Get(ctx, name, off, n)
	}
	if !fault.Late {
		return nil, fault.Err
	}
	size := n
	if n < 0 {
		whole, err := f.store.Size(ctx, name)
		if err != nil {
			return nil, err
		}
		size = whole - off
	}
	body, err := f.store.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	return &breaking{ReadCloser: body, left: size / 2, err: fault.Err}, nil
}

func (f *flaky) Size(ctx context.Context, name string) (n int64, err error) {
	err = f.do(Size, name, func() error { n, err = f.store.Size(ctx, name); return err })
	return n, err
}

func (f *flaky) Free(ctx context.Context) (n int64, err error) {
	err = f.do(Free, "", func() error { n, err = f.store.Free(ctx); return err })
	return n, err
}

func (f *flaky) List(ctx context.Context, prefix string, each func(string, int64) error) error {
	fault := f.fault(List, prefix)
	if fault.Err == nil {
		return f.store.List(ctx, prefix, each)
	}
	if !fault.Late {
		return fault.Err
	}
	total := 0
	if err := f.store.List(ctx, prefix, func(string, int64) error { total++; return nil }); err != nil {
		return err
	}
	left := total / 2
	err := f.store.List(ctx, prefix, func(name string, size int64) error {
		if left == 0 {
			return fault.Err
		}
		left--
		return each(name, size)
	})
	if err == nil {
		return fault.Err
	}
	return err
}

func (f *flaky) String() string { return f.store.String() }

// breaking is a body whose connection breaks.
type breaking struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
