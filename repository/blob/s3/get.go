package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

// Get reads the object as it is now. After a dropped connection reading goes on
// where it was, in the same version of the object or not at all.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := errors.Join(ctx.Err(), blob.CheckRange(name, off)); err != nil {
		return nil, err
	}
	r, err := s.get(ctx, name, off, n)
	if err != nil {
		return nil, s.failed("get", name, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if n == 0 || (n > 0 && off > maxOffset-n) {
		return s.getNone(ctx, name, off, n)
	}
	r := &reader{ctx: ctx, store: s, name: name, off: off, end: off + n, persistence: persistence{patience: s.patience}}
	if n < 0 {
		r.end = -1
	}
	err := s.retry(ctx, r.open)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange {
		return s.getNone(ctx, name, off, n) // from the end, or beyond it
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

const maxOffset = 1<<63 - 1

// getNone answers for ranges that HTTP cannot ask for: those without a byte.
func (s *Store) getNone(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	info, err := s.stat(ctx, s.key(name))
	if err != nil {
		return nil, err
	}
	if off > info.Size || n > info.Size-off {
		return nil, short(off, n, info.Size)
	}
	return io.NopCloser(eof{}), nil
}

func short(off, n, size int64) error {
	return fmt.Errorf("bytes from %d, %d of them, of %d: %w", off, n, size, blob.ErrShort)
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// reader is a range of one version of an object.
type reader struct {
	ctx   context.Context // of the Get
	store *Store
	name  string
	off   int64 // of the next byte
	end   int64 // -1 until the server has told
	etag  string
	body  io.ReadCloser
	persistence
}

// open asks for the rest of the range.
func (r *reader) open() error {
	var o minio.GetObjectOptions
	if err := r.ask(&o); err != nil {
		return err
	}
	body, info, _, err := r.store.client.GetObject(r.ctx, r.store.config.Bucket, r.store.key(r.name), o)
	if err != nil {
		return err
	}
	// In an answer of a part, Size is the length of that part.
	if r.end < 0 {
		r.end = r.off + info.Size
	}
	if r.off+info.Size != r.end {
		_ = body.Close()
		return short(r.off, r.end-r.off, r.off+info.Size)
	}
	r.body, r.etag = body, info.ETag
	return nil
}

func (r *reader) ask(o *minio.GetObjectOptions) error {
	if r.etag != "" {
		if err := o.SetMatchETag(r.etag); err != nil {
			return err
		}
	}
	switch {
	case r.end > 0:
		return o.SetRange(r.off, r.end-1)
	case r.off > 0:
		return o.SetRange(r.off, 0) // to the end
	}
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.off == r.end {
			return 0, io.EOF
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.off)])
		r.off += int64(n)
		if n > 0 {
			r.progress()
			return n, nil // an error will come again
		}
		if err == nil {
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err := r.resume(err); err != nil {
			return 0, r.store.failed("get", r.name, err)
		}
	}
}

// resume gets a new connection after the old one broke with the error.
func (r *reader) resume(err error) error {
	_ = r.body.Close()
	for {
		if !r.again(r.ctx, err) {
			return err
		}
		if err = r.open(); err == nil {
			return nil
		}
		if minio.ToErrorResponse(err).Code == minio.PreconditionFailed {
			return fmt.Errorf("it was replaced while it was being read: %w", err)
		}
	}
}

func (r *reader) Close() error { return r.body.Close() }
