package node

import (
	"io"
	"sync/atomic"
)

// countingReader adds the bytes that are read through it to n.
type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// WriteTo lets a reader that has large pieces hand them over as they are.
func (c *countingReader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(countingWriter{w, c.n}, c.r)
}

type countingWriter struct {
	w io.Writer
	n *atomic.Int64
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}
