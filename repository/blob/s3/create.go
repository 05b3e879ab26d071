package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

// writerHeader marks who created an object: when the answer to a Create is lost
// and the next attempt meets an object, it tells whether that is our own.
const writerHeader, writerKey = "X-Amz-Meta-Snapline-Writer", "Snapline-Writer"

// Create relies on the server's "If-None-Match: *", which Open has checked.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	err := s.noCreate
	if err == nil {
		err = s.create(ctx, s.key(name), data)
	}
	if err != nil {
		return s.failed("create", name, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, key string, data []byte) error {
	src := newSource(bytes.NewReader(data), int64(len(data)))
	sum, err := s.digest(src, 0, src.size)
	if err != nil {
		return err
	}
	writer, attempts := rand.Text(), 0
	err = s.send(ctx, src, 0, src.size, func(ctx context.Context, body io.Reader) error {
		attempts++
		o := minio.PutObjectOptions{
			UserMetadata:         map[string]string{crcHeader: sum.crc32c, writerHeader: writer},
			DisableContentSha256: true, // of chunks; see digest
		}
		o.SetMatchETagExcept("*")
		_, err := s.client.PutObject(ctx, s.config.Bucket, key, body, src.size, "", sum.sha256, o)
		return err
	})
	if !exists(err) {
		return err
	}
	if attempts > 1 {
		info, statErr := s.stat(ctx, key)
		if statErr != nil {
			return statErr
		}
		if info.UserMetadata[writerKey] == writer {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", blob.ErrExists, err)
}

// exists reports whether a server has refused to write over an object.
func exists(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.Code == minio.PreconditionFailed || r.StatusCode == http.StatusPreconditionFailed
}
