package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/pagemap"
	"github.com/snapline/snapline/repository/qevm"
	"github.com/snapline/snapline/repository/seal"
)

// The kinds of roots.
const (
	kindQEVM = "qevm" // a migration stream that was taken apart
	kindRaw  = "raw"  // bytes of any other kind
	kindDisk = "disk"
)

// rootFormat is the Format of roots that this version writes.
const rootFormat = 1

// root is what a member's data begins with: where the page maps are.
type root struct {
	Format   int                 `json:"format"`
	Kind     string              `json:"kind"`
	Snapshot snapline.SnapshotID `json:"snapshot"`
	// Object is the blob's last part: a member, or MEMBER.DISK.
	Object string `json:"object"`
	// RawBytes is the length of what was stored, as Object has it; AddedBytes
	// are those of packs and indexes that were written for it.
	RawBytes   int64 `json:"raw_bytes"`
	AddedBytes int64 `json:"added_bytes"`
	// Head is a stream's, without pages; nil for others.
	Head *qevm.Head `json:"head,omitempty"`
	// Maps are those of the head's blocks, then that of the epilogue; or the
	// one of everything.
	Maps []pageMap `json:"maps"`
}

// pageMap is a part of what was stored: consecutive pages, the last perhaps
// filled up with zeros.
type pageMap struct {
	Bytes int64   `json:"bytes"`
	Root  page.ID `json:"root"`
}

func (m pageMap) pages() int64 { return (m.Bytes + page.Size - 1) / page.Size }

// valid reports why r cannot be a root, whatever the storage holds.
func (r *root) valid() error {
	if r.RawBytes < 0 || r.AddedBytes < 0 {
		return fmt.Errorf("sizes %d and %d", r.RawBytes, r.AddedBytes)
	}
	maps := 1
	switch r.Kind {
	case kindQEVM:
		if r.Head == nil {
			return errors.New("a stream without a head")
		}
		if err := r.Head.Valid(); err != nil {
			return err
		}
		maps = len(r.Head.Blocks) + 1
	case kindRaw, kindDisk:
		if r.Head != nil {
			return fmt.Errorf("a head in kind %q", r.Kind)
		}
	default:
		return fmt.Errorf("kind %q", r.Kind)
	}
	if len(r.Maps) != maps {
		return fmt.Errorf("%d page maps, not %d", len(r.Maps), maps)
	}
	for i, m := range r.Maps {
		if m.Bytes < 0 || m.Bytes > pagemap.MaxPages*page.Size {
			return fmt.Errorf("page map %d is of %d bytes", i, m.Bytes)
		}
		if i < maps-1 && m.Bytes != r.Head.Blocks[i].Bytes {
			return fmt.Errorf("page map %d is not as long as its block", i)
		}
	}
	return nil
}

// maxRoot bounds a root's text, in bytes.
const maxRoot = 16 << 20

func encodeRoot(m *seal.Master, r *root) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	packed, err := compressText(text)
	if err != nil {
		return nil, err
	}
	return m.Seal(seal.RootMagic, rootName(r.Snapshot, r.Object), packed), nil
}

func decodeRoot(m *seal.Master, id snapline.SnapshotID, object string, b []byte) (*root, error) {
	packed, err := m.Open(seal.RootMagic, rootName(id, object), b)
	if err != nil {
		return nil, err
	}
	text, err := decompressText(packed, maxRoot)
	if err != nil {
		return nil, err
	}
	r, err := parseRoot(text)
	if err == nil && (r.Snapshot != id || r.Object != object) {
		err = fmt.Errorf("it is the root of %s of %s", r.Object, r.Snapshot)
	}
	return r, err
}

func parseRoot(text []byte) (*root, error) {
	r := &root{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	if r.Format > rootFormat {
		return nil, seal.ErrNewer
	}
	if r.Format != rootFormat {
		return nil, fmt.Errorf("format %d", r.Format)
	}
	return r, r.valid()
}

// compressText and decompressText are for the JSON of roots and records.
func compressText(text []byte) ([]byte, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(text, nil), z.Close()
}

func decompressText(packed []byte, limit uint64) ([]byte, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(limit))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(packed, nil)
}

// writeRoot stores a root and returns what the record says of it.
func (r *Repository) writeRoot(ctx context.Context, rt *root) (snapline.Object, error) {
	b, err := encodeRoot(r.master, rt)
	if err != nil {
		return snapline.Object{}, err
	}
	if err := r.store.Put(ctx, rootName(rt.Snapshot, rt.Object), int64(len(b)), bytes.NewReader(b)); err != nil {
		return snapline.Object{}, err
	}
	return object(b, rt), nil
}

func object(b []byte, rt *root) snapline.Object {
	sum := sha256.Sum256(b)
	return snapline.Object{
		Digest:      hex.EncodeToString(sum[:]),
		RawBytes:    rt.RawBytes,
		StoredBytes: rt.AddedBytes + int64(len(b)),
	}
}

// readRoot reads the root that o speaks of. A missing one is damage: whoever
// has an Object has been told that it is there.
func (r *Repository) readRoot(ctx context.Context, id snapline.SnapshotID, name string, o snapline.Object) (*root, error) {
	rt, got, err := r.anyRoot(ctx, id, name)
	if err != nil {
		return nil, err
	}
	if got != o {
		return nil, fmt.Errorf("%w: %s is not the one that was committed", snapline.ErrDamaged, rootName(id, name))
	}
	return rt, nil
}

// anyRoot reads a root, whatever its digest.
func (r *Repository) anyRoot(ctx context.Context, id snapline.SnapshotID, name string) (*root, snapline.Object, error) {
	var none snapline.Object
	b, err := readBlob(ctx, r.store, rootName(id, name))
	if errors.Is(err, blob.ErrNotFound) {
		return nil, none, fmt.Errorf("%w: %s is missing", snapline.ErrDamaged, rootName(id, name))
	}
	if err != nil {
		return nil, none, err
	}
	rt, err := decodeRoot(r.master, id, name, b)
	if err != nil {
		return nil, none, fmt.Errorf("%s: %w", rootName(id, name), damaged(err))
	}
	return rt, object(b, rt), nil
}

// damaged makes ErrDamaged of what a decoder says, unless the cause is that
// this version is too old.
func damaged(err error) error {
	if err == nil || errors.Is(err, seal.ErrNewer) || errors.Is(err, snapline.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", snapline.ErrDamaged, err)
}
