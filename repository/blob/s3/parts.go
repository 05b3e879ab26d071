package s3

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// maxParts is Amazon's limit for one object.
const maxParts = 10_000

// putParts sends a blob as a multipart upload. Parts that have arrived stay
// there while others are tried again; nothing is visible before the end. The
// parts of a process that died stay too, unseen, until a rule of the bucket
// (AbortIncompleteMultipartUpload) removes them.
func (s *Store) putParts(ctx context.Context, key string, src *source) error {
	var id string
	err := s.retry(ctx, func() (err error) {
		id, err = s.client.NewMultipartUpload(ctx, s.config.Bucket, key, minio.PutObjectOptions{
			UserMetadata: map[string]string{"x-amz-checksum-algorithm": "CRC32C"},
		})
		return err
	})
	if err != nil {
		return err
	}
	parts, err := s.sendParts(ctx, key, id, src)
	if err == nil {
		err = s.complete(ctx, key, id, parts, src.size)
	}
	if err != nil {
		s.abort(ctx, key, id)
	}
	return err
}

// sendParts sends some parts at a time. Their order is in their numbers.
func (s *Store) sendParts(ctx context.Context, key, id string, src *source) ([]minio.CompletePart, error) {
	size := max(s.partSize, (src.size+maxParts-1)/maxParts)
	parts := make([]minio.CompletePart, (src.size+size-1)/size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range parts {
		group.Go(func() (err error) {
			off := int64(i) * size
			parts[i], err = s.sendPart(ctx, key, id, i+1, src, off, min(size, src.size-off))
			return err
		})
	}
	return parts, group.Wait()
}

func (s *Store) sendPart(ctx context.Context, key, id string, number int, src *source, off, n int64) (minio.CompletePart, error) {
	if err := ctx.Err(); err != nil { // another part has failed
		return minio.CompletePart{}, err
	}
	sum, err := s.digest(src, off, n)
	if err != nil {
		return minio.CompletePart{}, err
	}
	part := minio.CompletePart{PartNumber: number, ChecksumCRC32C: sum.crc32c}
	err = s.send(ctx, src, off, n, func(ctx context.Context, body io.Reader) error {
		header := http.Header{}
		header.Set(crcHeader, sum.crc32c)
		p, err := s.client.PutObjectPart(ctx, s.config.Bucket, key, id, number, body, n, minio.PutObjectPartOptions{
			CustomHeader: header, Sha256Hex: sum.sha256, DisableContentSha256: true, // of chunks; see digest
		})
		part.ETag = p.ETag
		return err
	})
	return part, err
}

// complete makes an object of the parts. When the answer to a first attempt was
// lost the upload is gone at the second: then the object itself tells.
func (s *Store) complete(ctx context.Context, key, id string, parts []minio.CompletePart, size int64) error {
	attempts := 0
	return s.retry(ctx, func() error {
		attempts++
		_, err := s.client.CompleteMultipartUpload(ctx, s.config.Bucket, key, id, parts, minio.PutObjectOptions{})
		if attempts > 1 && minio.ToErrorResponse(err).Code == "NoSuchUpload" {
			if info, statErr := s.stat(ctx, key); statErr == nil && info.Size == size {
				return nil
			}
		}
		return err
	})
}

// abort gives the parts' space back, also when ctx is over. It has nobody to
// tell that it could not: the upload's own error is on its way.
func (s *Store) abort(ctx context.Context, key, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = s.client.AbortMultipartUpload(ctx, s.config.Bucket, key, id)
}
