package repo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/snapline/snapline"
)

// window bounds how far back a stream refers, and so the memory that reading it
// back takes: 4 MiB, the encoder's own choice at its fastest level.
const window = 4 << 20

// Put implements snapline.Repository. The compression runs on the calling
// goroutine's thread, at low priority, so that it takes no processor from the
// guests. ctx is looked at between two reads of r.
func (r *Repository) Put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	o, err := r.put(ctx, id, m, in)
	if err != nil {
		return snapline.Object{}, fmt.Errorf("store %s of %s: %w", m, id, r.full(err))
	}
	return o, nil
}

func (r *Repository) put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	var none snapline.Object
	if err := checkMember(id, m); err != nil {
		return none, err
	}
	if err := r.absent(id); err != nil {
		return none, err
	}
	f, err := r.createData(id)
	if err != nil {
		return none, err
	}
	o, err := r.fill(f, &contextReader{ctx, in})
	if err == nil {
		err = r.absent(id) // again: the stream took its time
	}
	if err == nil {
		err = os.Rename(f.Name(), r.dataFile(id, m))
	}
	if err != nil {
		discard(f)
		_ = os.Remove(r.dataDir(id)) // fails when others have put something there
		return none, err
	}
	r.done("put: renamed")
	if err := errors.Join(f.Close(), syncDir(r.dataDir(id))); err != nil {
		_ = os.Remove(r.dataFile(id, m))
		_ = os.Remove(r.dataDir(id))
		return none, err
	}
	r.done("put: named")
	return o, nil
}

// absent returns ErrExists when the snapshot has been committed.
func (r *Repository) absent(id snapline.SnapshotID) error {
	_, err := os.Lstat(r.recordFile(id))
	if err == nil {
		return fmt.Errorf("snapshot %s: %w", id, snapline.ErrExists)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// createData makes a temporary file beside its final place. Another member's
// Put that fails may remove the directory before there is something in it.
func (r *Repository) createData(id snapline.SnapshotID) (*os.File, error) {
	for try := 0; ; try++ {
		if err := mkdir(r.dataDir(id)); err != nil {
			return nil, err
		}
		r.done("put: directory made")
		f, err := createTmp(r.dataDir(id))
		if errors.Is(err, fs.ErrNotExist) && try < 10 {
			continue
		}
		if err == nil {
			r.done("put: created")
		}
		return f, err
	}
}

// fill compresses a stream into f and makes the bytes durable.
func (r *Repository) fill(f *os.File, in io.Reader) (snapline.Object, error) {
	normal := yieldProcessor()
	defer normal()
	sum := sha256.New()
	var stored counter
	z, err := zstd.NewWriter(io.MultiWriter(f, sum, &stored),
		zstd.WithEncoderLevel(zstd.SpeedFastest), // drain first: the guests wait for it
		zstd.WithEncoderConcurrency(1),           // on this thread
		zstd.WithWindowSize(window),
		zstd.WithZeroFrames(true)) // an empty stream is a frame too
	if err != nil {
		return snapline.Object{}, err
	}
	raw, err := io.Copy(z, in)
	closeErr := z.Close()
	if err == nil {
		err = closeErr // after another error it is the same one once more
	}
	if err != nil {
		return snapline.Object{}, err
	}
	r.done("put: written")
	if err := f.Sync(); err != nil {
		return snapline.Object{}, err
	}
	r.done("put: synced")
	return snapline.Object{
		Digest:      hex.EncodeToString(sum.Sum(nil)),
		RawBytes:    raw,
		StoredBytes: int64(stored),
	}, nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// contextReader ends a stream when its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
