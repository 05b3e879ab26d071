package repository

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

var (
	_ snapline.Repository = (*Repository)(nil)
	_ snapline.Maintainer = (*Repository)(nil)
)

// Options say how to use a repository.
type Options struct {
	// CacheDir is a directory of this machine for the index and for what a Put
	// notes; several processes and repositories may share it. Empty: a temporary
	// one, which Close removes.
	CacheDir string
	// CacheBytes bounds the packs that are kept in CacheDir, in bytes: those
	// that were written and read last. 0 keeps none, which is right for storage
	// on this machine.
	CacheBytes int64
	// UploadRate bounds what is written, in bytes per second; 0: no bound.
	UploadRate int64
	// Workers is how many processors hashing and compression may use; 0: all.
	Workers int
	// Uploads is how many packs are written at the same time; 0: 3. Each takes
	// 16 MiB of memory.
	Uploads int
	// Reads is how many parts of a stream are fetched at the same time; 0: 4.
	// Each takes about 10 MiB.
	Reads int
	// Puts is how many streams are stored at the same time; 0: 2. Others wait.
	Puts int
}

func (o Options) withDefaults() Options {
	set := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	set(&o.Workers, runtime.GOMAXPROCS(0))
	set(&o.Uploads, 3)
	set(&o.Reads, 4)
	set(&o.Puts, 2)
	return o
}

// Repository is a snapline.Repository on a blob.Store. Its methods may be
// called from several goroutines and, but for Prune and RemoveKey, from several
// processes at once.
type Repository struct {
	store  blob.Store
	o      Options
	id     string
	key    string // the one it was opened with
	master *seal.Master

	pageKey, nodeKey []byte
	index            *index.Set
	cache            *cacheDir
	frames           *frameCache
	packs            *packCache
	codec            *pack.Codec
	puts             chan struct{} // has room for so many at once

	// Buffers are used again, so that the collector sleeps.
	batches      sync.Pool // *batch
	frameBuffers sync.Pool // *framed
	readBuffers  sync.Pool // *[]byte
}

// Open opens the repository in a store. An error says what to do about it:
// ErrNone, ErrWrongKey, and others that are not for a program to tell apart.
// The store stays the caller's.
func Open(ctx context.Context, s blob.Store, secret Secret, o Options) (*Repository, error) {
	r, err := open(ctx, s, secret, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", s, err)
	}
	return r, nil
}

func open(ctx context.Context, s blob.Store, secret Secret, o Options) (*Repository, error) {
	c, err := readConfig(ctx, s)
	if err != nil {
		return nil, err
	}
	m, key, err := unlock(ctx, s, c.ID, secret)
	if err != nil {
		return nil, err
	}
	return newRepository(s, c.ID, key, m, o)
}

func newRepository(s blob.Store, id, key string, m *seal.Master, o Options) (_ *Repository, err error) {
	r := &Repository{
		store: blob.Limit(s, o.UploadRate), o: o, id: id, key: key, master: m,
		pageKey: m.Key(seal.PageIDs, nil), nodeKey: m.Key(seal.NodeIDs, nil),
		frames: newFrameCache(frameCacheBytes),
		puts:   make(chan struct{}, o.Puts),
	}
	if r.codec, err = pack.NewCodec(max(o.Workers, o.Reads)); err != nil {
		return nil, err
	}
	if r.cache, err = openCache(o.CacheDir, id); err != nil {
		r.codec.Close()
		return nil, err
	}
	if o.CacheBytes > 0 {
		r.packs = newPackCache(filepath.Join(r.cache.path, "packs"), o.CacheBytes)
	}
	if r.index, err = index.Open(r.cache.path, m.Key(seal.Cache, nil)); err != nil {
		r.codec.Close()
		return nil, errors.Join(err, r.cache.close())
	}
	return r, nil
}

// Close gives back what the Repository holds on this machine. Nothing may use
// it, or a stream of it, any more.
func (r *Repository) Close() error {
	r.codec.Close()
	return errors.Join(r.index.Close(), r.cache.close())
}

// ID implements snapline.Repository.
func (r *Repository) ID() string { return r.id }

// Location implements snapline.Maintainer.
func (r *Repository) Location() string { return r.store.String() }

// Free implements snapline.Repository. A store that does not know has room.
func (r *Repository) Free(ctx context.Context) (int64, error) {
	n, err := r.store.Free(ctx)
	if err != nil {
		return 0, fmt.Errorf("repository %s: free space: %w", r.store, err)
	}
	if n < 0 {
		return math.MaxInt64, nil
	}
	return n, nil
}

// hasher returns a goroutine's own hasher for the ids of that kind.
func (r *Repository) hasher(k pack.Kind) page.Hasher {
	key := r.pageKey
	if k == pack.Nodes {
		key = r.nodeKey
	}
	h, err := page.NewHasher(key)
	if err != nil {
		panic("blake3: " + err.Error()) // only for keys of another length
	}
	return h
}

// readBuffer returns space for n bytes, with anything in it.
func (r *Repository) readBuffer(n int) *[]byte {
	b, _ := r.readBuffers.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	*b = slices.Grow((*b)[:0], n)[:n]
	return b
}

// full tells an operator what to do about storage without space.
func (r *Repository) full(err error) error {
	if errors.Is(err, blob.ErrFull) {
		return fmt.Errorf("repository %s is full; delete snapshots and prune, or give it more space: %w", r.store, err)
	}
	return err
}

// The names of blobs.

const (
	packPrefix     = "packs/"
	indexPrefix    = "index/"
	rootPrefix     = "roots/"
	manifestPrefix = "snapshots/"
)

func packName(id pack.ID) string {
	s := hex.EncodeToString(id[:])
	return packPrefix + s[:2] + "/" + s
}

func indexName(s index.Source) string { return indexPrefix + hex.EncodeToString(s[:]) }

func rootName(id snapline.SnapshotID, object string) string {
	return rootPrefix + string(id) + "/" + object
}

func manifestName(id snapline.SnapshotID) string { return manifestPrefix + string(id) }

// parseHex reads the 16 bytes that end a blob's name.
func parseHex(name, prefix string) (id [16]byte, ok bool) {
	s, ok := strings.CutPrefix(name, prefix)
	b, err := hex.DecodeString(s)
	if !ok || err != nil || len(b) != len(id) || s != strings.ToLower(s) {
		return id, false
	}
	return [16]byte(b), true
}

// parsePackName returns the pack's id.
func parsePackName(name string) (pack.ID, bool) {
	if len(name) < len(packPrefix)+3 {
		return pack.ID{}, false
	}
	id, ok := parseHex(name[len(packPrefix)+3:], "")
	return id, ok && packName(id) == name
}

// checkID and checkMember stand before every name that is made of another.
func checkID(id snapline.SnapshotID) error {
	_, _, err := id.Split()
	return err
}

func checkMember(id snapline.SnapshotID, m snapline.MemberName) error {
	if err := checkID(id); err != nil {
		return err
	}
	return snapline.CheckName("member", string(m))
}
