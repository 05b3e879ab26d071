package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/snapline/snapline"
)

var _ snapline.Store = (*Store)(nil)

// StoreOptions say which bucket to use.
type StoreOptions struct {
	// Bucket is the JetStream key-value bucket, made when missing: letters,
	// digits, '-' and '_'.
	Bucket string
	// Replicas is on how many servers of an external cluster the bucket is kept:
	// 1, 3 or 5. 0 means 1 for a new bucket, and leaves an existing one alone.
	Replicas int
}

// Store is a JetStream key-value bucket. On an embedded server what it has
// accepted has been fsynced; on an external one that is for the server's
// configuration to say (sync_interval: always).
//
// An error other than the ones that snapline.Store names leaves open whether
// the value was written. A ctx without a deadline gets one of 5 s.
type Store struct {
	kv     jetstream.KeyValue
	stream jetstream.Stream // the one below kv
}

// OpenStore opens or makes a bucket. It waits for the connection until ctx
// ends, and with several Replicas for so many servers. The Store uses c, which
// must outlive it.
func OpenStore(ctx context.Context, c *Conn, o StoreOptions) (*Store, error) {
	open := openBucket
	if o.Replicas > 1 {
		open = openWhenQuorate
	}
	s, err := open(ctx, c, o)
	if noJetStream(err) {
		return nil, fmt.Errorf("open store %s: the NATS server keeps no state: enable JetStream in its configuration: %w", o.Bucket, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Bucket, err)
	}
	return s, nil
}

// noJetStream reports whether nobody serves JetStream's API, to us or at all.
func noJetStream(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) ||
		errors.Is(err, natsio.ErrNoResponders)
}

func openBucket(ctx context.Context, c *Conn, o StoreOptions) (*Store, error) {
	if err := c.WaitConnected(ctx); err != nil {
		return nil, err
	}
	js, err := jetstream.New(c.nc)
	if err != nil {
		return nil, err
	}
	_, err = js.KeyValue(ctx, o.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      o.Bucket,
			Description: "Snapline's state",
			History:     1,
			Storage:     jetstream.FileStorage,
			Replicas:    max(o.Replicas, 1),
		})
	}
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) { // made by another meanwhile
		return nil, err
	}
	stream, err := adjust(ctx, js, o)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, o.Bucket)
	if err != nil {
		return nil, err
	}
	return &Store{kv: kv, stream: stream}, nil
}

// adjust makes the bucket's reads go to the stream's leader. By default any
// replica answers them, and one that lags would not show what Put has accepted.
func adjust(ctx context.Context, js jetstream.JetStream, o StoreOptions) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, "KV_"+o.Bucket)
	if err != nil {
		return nil, err
	}
	cfg := stream.CachedInfo().Config
	if !cfg.AllowDirect && (o.Replicas == 0 || o.Replicas == cfg.Replicas) {
		return stream, nil
	}
	cfg.AllowDirect = false
	if o.Replicas != 0 {
		cfg.Replicas = o.Replicas
	}
	return js.UpdateStream(ctx, cfg)
}

// Get implements snapline.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := checkDotted("key", key); err != nil {
		return nil, 0, err
	}
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		err = snapline.ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("get %s: %w", key, err)
	}
	return e.Value(), e.Revision(), nil
}

// Put implements snapline.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	if err := checkDotted("key", key); err != nil {
		return err
	}
	if _, err := s.kv.Put(ctx, key, value); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Swap implements snapline.Store.
func (s *Store) Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := checkDotted("key", key); err != nil {
		return 0, err
	}
	var next uint64
	var err error
	if revision == 0 {
		next, err = s.kv.Create(ctx, key, value) // also over a delete marker
	} else {
		next, err = s.kv.Update(ctx, key, value, revision)
	}
	if conflict(err) {
		err = snapline.ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("write %s over revision %d: %w", key, revision, err)
	}
	return next, nil
}

// conflict reports whether the server refused a write because of the revision.
// It has a code of its own for that on replicated buckets.
func conflict(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
	}
	return api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// Keys implements snapline.Store. The stream's leader lists the subjects, as it
// answers every read: a watcher's consumer may live on a replica that has not
// applied yet what Put has accepted, and would end its list too early.
func (s *Store) Keys(ctx context.Context, prefix string) ([]string, error) {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(s.subject(filter(prefix))))
	if err != nil {
		return nil, fmt.Errorf("list keys %s*: %w", prefix, err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, s.subject(""))
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		// A deleted key leaves a marker behind under its subject.
		switch _, err := s.kv.Get(ctx, key); {
		case err == nil:
			keys = append(keys, key)
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return nil, fmt.Errorf("list keys %s*: %w", prefix, err)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// subject is where the bucket's stream keeps a key.
func (s *Store) subject(key string) string { return "$KV." + s.kv.Bucket() + "." + key }

// filter is the narrowest NATS pattern that covers every key with the prefix: a
// pattern can end between two parts only.
func filter(prefix string) string {
	end := strings.LastIndexByte(prefix, '.')
	if end < 0 || checkDotted("key", prefix[:end]) != nil {
		return jetstream.AllKeys
	}
	return prefix[:end] + ".>"
}

// Delete implements snapline.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkDotted("key", key); err != nil {
		return err
	}
	if err := s.kv.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
