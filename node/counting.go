package node

import (
	"io"
	"sync/atomic"
)

// countingReader counts the bytes that were read through it.
type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// Count returns how many bytes so far. Safe from any goroutine.
func (c *countingReader) Count() int64 { return c.n.Load() }
