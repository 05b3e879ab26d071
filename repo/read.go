package repo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/snapline/snapline"
)

// Open implements snapline.Repository. The reader is for one goroutine; ctx
// ends it. It needs about 10 MiB of memory.
func (r *Repository) Open(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) (io.ReadCloser, error) {
	f, err := r.openData(id, m, o)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", m, id, err)
	}
	v := &verifier{what: fmt.Sprintf("read %s of %s", m, id), want: o, sum: sha256.New()}
	v.file = &sourceReader{r: &contextReader{ctx, f}}
	v.hashed = io.TeeReader(v.file, v.sum)
	v.close = f.Close
	v.z, err = zstd.NewReader(v.hashed,
		zstd.WithDecoderConcurrency(1), // no goroutines
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window))
	if err != nil {
		f.Close()
		return nil, v.fail(err)
	}
	return v, nil
}

// Verify implements snapline.Repository.
func (r *Repository) Verify(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) error {
	f, err := r.openData(id, m, o)
	if err != nil {
		return fmt.Errorf("verify %s of %s: %w", m, id, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &contextReader{ctx, f}); err != nil {
		return fmt.Errorf("verify %s of %s: %w", m, id, err)
	}
	if err := checkDigest(sum, o); err != nil {
		return fmt.Errorf("verify %s of %s: %w", m, id, err)
	}
	return nil
}

// openData opens a member's file and checks its size. A missing file is damage:
// whoever has an Object has been told that it is there.
func (r *Repository) openData(id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) (*os.File, error) {
	if err := checkMember(id, m); err != nil {
		return nil, err
	}
	f, err := os.Open(r.dataFile(id, m))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", snapline.ErrDamaged, r.dataFile(id, m))
	}
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = checkSize(st, o)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkSize(st fs.FileInfo, o snapline.Object) error {
	if !st.Mode().IsRegular() || st.Size() != o.StoredBytes {
		return fmt.Errorf("%w: %s has %d bytes, %d were stored", snapline.ErrDamaged, st.Name(), st.Size(), o.StoredBytes)
	}
	return nil
}

func checkDigest(sum hash.Hash, o snapline.Object) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != o.Digest {
		return fmt.Errorf("%w: its SHA-256 is %s, that of what was stored %s", snapline.ErrDamaged, got, o.Digest)
	}
	return nil
}

// verifier decompresses a stream and hashes the stored bytes on their way. It
// says io.EOF only when all of them, also those that the decompressor does not
// need, have been read and are the right ones.
type verifier struct {
	what   string
	want   snapline.Object
	file   *sourceReader
	hashed io.Reader
	sum    hash.Hash
	z      *zstd.Decoder
	close  func() error
	raw    int64
	end    error // what every further Read returns
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.end != nil {
		return 0, v.end
	}
	n, err := v.z.Read(p)
	v.raw += int64(n)
	if v.raw > v.want.RawBytes {
		n, err = 0, fmt.Errorf("it is longer than the %d bytes captured", v.want.RawBytes)
	}
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		v.end = v.prove()
	default:
		v.end = v.fail(err)
	}
	return n, v.end
}

// prove returns io.EOF if the whole stream was the one stored.
func (v *verifier) prove() error {
	if _, err := io.Copy(io.Discard, v.hashed); err != nil {
		return v.fail(err)
	}
	if err := checkDigest(v.sum, v.want); err != nil {
		return fmt.Errorf("%s: %w", v.what, err)
	}
	if v.raw != v.want.RawBytes {
		return v.fail(fmt.Errorf("it is %d bytes long, %d were captured", v.raw, v.want.RawBytes))
	}
	return io.EOF
}

// fail tells a file that cannot be read from one with the wrong bytes in it.
func (v *verifier) fail(err error) error {
	if v.file.err != nil {
		return fmt.Errorf("%s: %w", v.what, v.file.err)
	}
	return fmt.Errorf("%s: %w: %w", v.what, snapline.ErrDamaged, err)
}

func (v *verifier) Close() error {
	if v.end == nil {
		v.end = fs.ErrClosed
	}
	v.z.Close()
	return v.close()
}

// sourceReader remembers why its source could not be read.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
