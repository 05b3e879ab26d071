package gentle

import "io"

// AlwaysWork has workers store everything, however small and however busy the
// host is.
func (r *Repository) AlwaysWork() {
	r.small = 0
	r.stalls = func() (stalls, error) { return stalls{}, nil }
}

// Receive reads a request and what follows, in both ways.
func Receive(r io.Reader) {
	in := newReceiver(r)
	q, err := in.request()
	if err != nil {
		return
	}
	if q.Disk == "" {
		io.Copy(io.Discard, in)
		return
	}
	for range in.extents() {
	}
}
