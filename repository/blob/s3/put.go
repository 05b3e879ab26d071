package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

// crcHeader has the server compare what arrived with what was sent. Servers
// that do not know it ignore it.
const crcHeader = "x-amz-checksum-crc32c"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Put sends small blobs in one request and large ones in parts. What a dropped
// connection has cut off is sent again, but only that part.
func (s *Store) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	if err := errors.Join(ctx.Err(), blob.CheckPut(name, size, r)); err != nil {
		return err
	}
	src := newSource(r, size)
	put := s.putWhole
	if size > 2*s.partSize {
		put = s.putParts
	}
	if err := put(ctx, s.key(name), src); err != nil {
		return s.failed("put", name, err)
	}
	return nil
}

func (s *Store) putWhole(ctx context.Context, key string, src *source) error {
	sum, err := s.digest(src, 0, src.size)
	if err != nil {
		return err
	}
	return s.send(ctx, src, 0, src.size, func(ctx context.Context, body io.Reader) error {
		_, err := s.client.PutObject(ctx, s.config.Bucket, key, body, src.size, "", sum.sha256, minio.PutObjectOptions{
			UserMetadata: map[string]string{crcHeader: sum.crc32c}, DisableContentSha256: true, // of chunks; see digest
		})
		return err
	})
}

// send gives a piece of the source to a request, again and again if need be.
// Each attempt has a body of its own: net/http may read on in an old one after
// the request has failed.
func (s *Store) send(ctx context.Context, src *source, off, n int64, request func(context.Context, io.Reader) error) error {
	return s.retry(ctx, func() error {
		ctx, cancel := context.WithCancel(ctx)
		body := &body{r: io.NewSectionReader(src.paced, off, n)}
		err := request(ctx, body)
		cancel()
		if srcErr := body.stop(); srcErr != nil {
			return fmt.Errorf("%w: %w", errSource, srcErr)
		}
		return err
	})
}

var errSource = errors.New("read what to send")

// body is what one request reads. It hides Seek, which would make minio-go try
// again by itself.
type body struct {
	mu      sync.Mutex
	r       io.Reader
	err     error
	stopped bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return 0, errStopped
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

var errStopped = errors.New("the request is over")

// stop ends reading, so that the caller has its source back, and returns the
// source's error.
func (b *body) stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	return b.err
}

// source is a blob on its way out.
type source struct {
	paced io.ReaderAt // at the pace of the upload limit
	plain io.ReaderAt // for what is not sent
	size  int64
}

// digest is what the server can compare with what arrives.
type digest struct {
	crc32c string // big-endian, in base64
	// sha256 is in hex, and empty over TLS, which needs none. Without TLS it is
	// part of the request's signature. (minio-go would else sign the body chunk by
	// chunk, "aws-chunked", which versitygw 1.8.0 does not always read to its end,
	// and then takes the rest for the next request.)
	sha256 string
}

func (s *Store) digest(src *source, off, n int64) (digest, error) {
	crc, sha := crc32.New(castagnoli), sha256.New()
	w := io.Writer(crc)
	signed := s.config.Endpoint.Scheme == "http"
	if signed {
		w = io.MultiWriter(crc, sha)
	}
	piece := struct{ io.Reader }{io.NewSectionReader(src.plain, off, n)} // no WriterTo: small steps stay in the cache
	got, err := io.CopyBuffer(w, piece, make([]byte, 128<<10))
	if err == nil && got != n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return digest{}, fmt.Errorf("%w: %w", errSource, err)
	}
	d := digest{crc32c: base64.StdEncoding.EncodeToString(crc.Sum(nil))}
	if signed {
		d.sha256 = hex.EncodeToString(sha.Sum(nil))
	}
	return d, nil
}

func newSource(r io.ReadSeeker, size int64) *source {
	plain := blob.Unpaced(r)
	paced, ok := r.(io.ReaderAt)
	plainAt, ok2 := plain.(io.ReaderAt)
	if ok && ok2 {
		return &source{paced: paced, plain: plainAt, size: size}
	}
	position := &sync.Mutex{} // both have the same one
	return &source{paced: &seekerAt{mu: position, r: r}, plain: &seekerAt{mu: position, r: plain}, size: size}
}

// seekerAt reads anywhere in what has one position, in turns.
type seekerAt struct {
	mu *sync.Mutex
	r  io.ReadSeeker
}

func (s *seekerAt) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.r.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
