// Package s3 keeps blobs in a bucket, so that hosts which share no file system
// can share a repository: at Amazon, or on any server that speaks its protocol
// and honours "If-None-Match: *" (see probe).
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

var _ blob.Store = (*Store)(nil)

// Store is the blobs in one bucket whose keys begin with one prefix. Safe for
// use from several goroutines, processes and hosts.
type Store struct {
	config    Config
	client    minio.Core
	transport *http.Transport
	patience  time.Duration // see retry
	noCreate  error         // why Create cannot be relied on; nil if it can
	partSize  int64
	pageSize  int // of List; 0 is the server's choice
}

const (
	// partSize is how much is sent again at most after a dropped connection. A
	// blob of up to two parts goes in one request, which is cheaper.
	partSize = 16 << 20
	// parallel is how many parts of one blob are on their way at once.
	parallel = 4
	// patience is how long a server may be away in the middle of the work.
	patience = time.Minute
	// openPatience is shorter: whoever opens is there to correct the location.
	openPatience = 2 * time.Second
)

// Open connects to the bucket and checks, by using it, that it can carry a
// repository. With credentials that may only read it opens too; changes fail
// then. Close lets go of idle connections.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := dial(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c, err)
	}
	if err := s.probe(ctx); err != nil {
		s.transport.CloseIdleConnections()
		return nil, fmt.Errorf("open %s: %w", c, err)
	}
	s.patience = patience
	return s, nil
}

func dial(ctx context.Context, c Config) (*Store, error) {
	creds, err := c.provide()
	if err != nil {
		return nil, err
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	s := &Store{config: c, transport: transport, patience: openPatience, partSize: partSize}
	options := &minio.Options{
		Creds: creds, Secure: c.Endpoint.Scheme == "https", Transport: transport, Region: c.Region,
		MaxRetries: 1, // retry does it: minio-go rewinds a body that an old request may still read
	}
	client, err := minio.NewCore(c.Endpoint.Host, options)
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		// Now, under our patience: minio-go would ask once, in the middle of some
		// other call, and give up at the first error.
		err := s.retry(ctx, func() error {
			options.Region, err = client.GetBucketLocation(ctx, c.Bucket)
			return err
		})
		if err != nil {
			transport.CloseIdleConnections()
			return nil, s.explain(err)
		}
		if client, err = minio.NewCore(c.Endpoint.Host, options); err != nil {
			return nil, err
		}
	}
	s.client = *client
	return s, nil
}

func (s *Store) String() string { return s.config.String() }

// Close lets go of idle connections.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

func (s *Store) key(name string) string {
	if s.config.Prefix == "" {
		return name
	}
	return s.config.Prefix + "/" + name
}

// Size asks for the object's length.
func (s *Store) Size(ctx context.Context, name string) (int64, error) {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return 0, err
	}
	info, err := s.stat(ctx, s.key(name))
	if err != nil {
		return 0, s.failed("size", name, err)
	}
	return info.Size, nil
}

func (s *Store) stat(ctx context.Context, key string) (info minio.ObjectInfo, err error) {
	err = s.retry(ctx, func() error {
		info, err = s.client.StatObject(ctx, s.config.Bucket, key, minio.StatObjectOptions{})
		return err
	})
	return info, err
}

// Delete removes the object. In a bucket that keeps versions it stays, hidden,
// until a rule of the bucket removes it.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), blob.CheckName(name)); err != nil {
		return err
	}
	if err := s.remove(ctx, s.key(name)); err != nil {
		return s.failed("delete", name, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string) error {
	err := s.retry(ctx, func() error {
		return s.client.RemoveObject(ctx, s.config.Bucket, key, minio.RemoveObjectOptions{})
	})
	if errors.Is(s.explain(err), blob.ErrNotFound) {
		return nil // not Amazon's way, but some servers say so
	}
	return err
}

// Free is unknown: no S3 request asks for it.
func (s *Store) Free(ctx context.Context) (int64, error) { return -1, ctx.Err() }

// List asks for page after page.
func (s *Store) List(ctx context.Context, prefix string, each func(name string, size int64) error) error {
	if err := errors.Join(ctx.Err(), blob.CheckPrefix(prefix)); err != nil {
		return err
	}
	l := &listing{store: s, strip: s.key(""), each: each}
	err := s.retry(ctx, func() error { return l.rest(ctx, s.key(prefix)) })
	if l.stopped != nil {
		return l.stopped
	}
	if err != nil {
		return s.failed("list", prefix, err)
	}
	return nil
}

// listing is how far a List has come.
type listing struct {
	store   *Store
	strip   string // the store's prefix, which is no part of a name
	each    func(string, int64) error
	last    string // key
	stopped error  // by each
}

// rest lists what comes after the last key.
func (l *listing) rest(ctx context.Context, prefix string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := l.store.client.ListObjectsIter(ctx, l.store.config.Bucket, minio.ListObjectsOptions{
		Prefix: prefix, Recursive: true, StartAfter: l.last, MaxKeys: l.store.pageSize,
	})
	for o := range pages {
		if o.Err != nil {
			return o.Err
		}
		if o.Key <= l.last {
			return fmt.Errorf("%w: %q came after %q", errUnordered, o.Key, l.last)
		}
		l.last = o.Key
		name, ours := strings.CutPrefix(o.Key, l.strip)
		if !ours || blob.CheckName(name) != nil {
			continue // the probe's mark, and other people's things
		}
		if l.stopped = l.each(name, o.Size); l.stopped != nil {
			return nil
		}
	}
	return ctx.Err()
}

var errUnordered = errors.New("the server lists keys out of order; use a bucket of the general purpose kind")
