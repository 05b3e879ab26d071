package blobtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/snapline/snapline/repository/blob"
)

// ErrCrashed is what a dead process's calls return: all of them, from the crash
// on. The code under test may try to tidy up, and cannot.
var ErrCrashed = errors.New("the process is dead")

// When says whether the fatal operation still took effect.
type When string

const (
	Before When = "before" // the process died first
	After  When = "after"  // the storage did it, nobody heard of it
)

// Crasher is a store seen by a process that dies at a certain step.
type Crasher struct {
	store blob.Store
	at    int
	when  When

	mu   sync.Mutex
	ops  []string
	dead bool
}

var _ blob.Store = (*Crasher)(nil)

// Crashing dies at the n-th operation that changes the store (Put, Create,
// Delete), counted from 1; 0 never dies, and only counts. To go through all the
// crashes of a piece of code:
//
//	for n := 1; ; n++ {
//		c := blobtest.Crashing(fresh(), n, when)
//		run(c)
//		if !c.Crashed() {
//			break // it has fewer steps than n
//		}
//		check(c.Survivor())
//	}
func Crashing(s blob.Store, n int, when When) *Crasher {
	return &Crasher{store: s, at: n, when: when}
}

// Crashed reports whether the process has died.
func (c *Crasher) Crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// Ops are the changes so far, the fatal one included: "put NAME", "create NAME",
// "delete NAME".
func (c *Crasher) Ops() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ops)
}

// Survivor is the storage as the next process finds it.
func (c *Crasher) Survivor() blob.Store { return c.store }

// change counts one operation and does it, unless the process is dead.
func (c *Crasher) change(op, name string, do func() error) error {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return fmt.Errorf("%s %s: %w", op, name, ErrCrashed)
	}
	c.ops = append(c.ops, op+" "+name)
	fatal := len(c.ops) == c.at
	c.dead = fatal
	c.mu.Unlock()
	if !fatal {
		return do()
	}
	if c.when == After {
		// Whether it worked is nobody's to know any more.
		_ = do()
	}
	return fmt.Errorf("%s %s: %w", op, name, ErrCrashed)
}

func (c *Crasher) alive() error {
	if c.Crashed() {
		return ErrCrashed
	}
	return nil
}

func (c *Crasher) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	return c.change("put", name, func() error { return c.store.Put(ctx, name, size, r) })
}

func (c *Crasher) Create(ctx context.Context, name string, data []byte) error {
	return c.change("create", name, func() error { return c.store.Create(ctx, name, data) })
}

func (c *Crasher) Delete(ctx context.Context, name string) error {
	return c.change("delete", name, func() error { return c.store.Delete(ctx, name) })
}

func (c *Crasher) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	return c.store.Get(ctx, name, off, n)
}

func (c *Crasher) Size(ctx context.Context, name string) (int64, error) {
	if err := c.alive(); err != nil {
		return 0, err
	}
	return c.store.Size(ctx, name)
}

func (c *Crasher) List(ctx context.Context, prefix string, each func(string, int64) error) error {
	if err := c.alive(); err != nil {
		return err
	}
	return c.store.List(ctx, prefix, each)
}

func (c *Crasher) Free(ctx context.Context) (int64, error) {
	if err := c.alive(); err != nil {
		return 0, err
	}
	return c.store.Free(ctx)
}

func (c *Crasher) String() string { return c.store.String() }
