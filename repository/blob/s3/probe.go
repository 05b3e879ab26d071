package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

// markName is an object that a probe leaves, with a '~' that no blob's name
// has. As long as it is there one request per Open is enough.
const markName = "~create-if-absent"

// ErrNoConditionalPut is why a server cannot carry a repository.
var ErrNoConditionalPut = errors.New(`the server does not honour "If-None-Match: *"`)

// probe tries out on a real object that the server creates only what is absent:
// one that ignores the condition would let two writers commit the same
// snapshot.
func (s *Store) probe(ctx context.Context) error {
	first, err := s.wins(ctx, s.key(markName))
	switch {
	case isDenied(err):
		return s.readable(ctx, err)
	case err != nil:
		return s.explain(err)
	case !first:
		return nil
	}
	second, err := s.wins(ctx, s.key(markName))
	if err != nil {
		return s.explain(err)
	}
	if second {
		return noConditionalPut("a second writer was not refused")
	}
	return s.race(ctx)
}

// wins reports whether this call created the object.
func (s *Store) wins(ctx context.Context, key string) (bool, error) {
	err := s.create(ctx, key, []byte("Snapline checks here that this server creates only what is absent.\n"))
	if errors.Is(err, blob.ErrExists) {
		return false, nil
	}
	if r := minio.ToErrorResponse(err); r.Code == minio.NotImplemented || r.StatusCode == 501 {
		return false, noConditionalPut("it says that this is not implemented")
	}
	return err == nil, err
}

// race has several writers at once, for servers that look first and write
// later. Once per repository is enough: it proves nothing when it goes well.
func (s *Store) race(ctx context.Context) error {
	const writers = 6
	key := s.key(markName + "-" + rand.Text())
	won, errs := make([]bool, writers), make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { won[i], errs[i] = s.wins(ctx, key) })
	}
	wg.Wait()
	if err := errors.Join(append(errs, s.remove(ctx, key))...); err != nil {
		return s.explain(err)
	}
	winners := 0
	for _, w := range won {
		if w {
			winners++
		}
	}
	if winners != 1 {
		// The next Open shall look again.
		return errors.Join(noConditionalPut(fmt.Sprintf("of %d writers at once %d succeeded", writers, winners)), s.remove(ctx, s.key(markName)))
	}
	return nil
}

func noConditionalPut(what string) error {
	return fmt.Errorf("%w (%s), so two hosts could both commit the same snapshot; use a server that does: Amazon S3, MinIO, Ceph, versitygw in a recent version",
		ErrNoConditionalPut, what)
}

// readable opens for those who may not write, so that they can restore.
func (s *Store) readable(ctx context.Context, denied error) error {
	stop := errors.New("one is enough")
	if err := s.List(ctx, "", func(string, int64) error { return stop }); err != nil && !errors.Is(err, stop) {
		return err
	}
	s.noCreate = denied
	return nil
}
