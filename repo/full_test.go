package repo

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/snapline/snapline"
)

// noise is a stream that does not compress.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), n)
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, func(m mounter) error {
		if err := m.small(dir, "1m"); err != nil {
			return err
		}
		r, err := Open(dir, Options{Create: true})
		if err != nil {
			return err
		}
		before, err := r.Free(t.Context())
		if err != nil || before < 500_000 || before > 1<<20 {
			t.Errorf("Free = %d, %v", before, err)
		}
		_, err = r.Put(t.Context(), id, "n1", noise(4<<20))
		wantFull(t, "Put", err)
		wantTree(t, dir, "config.json", "data", "snapshots")
		if after, err := r.Free(t.Context()); err != nil || after != before {
			t.Errorf("%d bytes are free after the failed Put, %d before: %v", after, before, err)
		}
		return fullCommit(t, r)
	})
}

// fullCommit fills the disk between Put and Commit.
func fullCommit(t *testing.T, r *Repository) error {
	o, err := r.Put(t.Context(), id, "n1", noise(100_000))
	if err != nil {
		return err
	}
	filler := filepath.Join(r.dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("filling the disk: %v", err)
	}
	s := record(id, o)
	wantFull(t, "Commit", r.Commit(t.Context(), s))
	wantTree(t, r.dir, "config.json", "data", "data/etcd-7", "data/etcd-7/n1.zst", "filler", "snapshots")
	if _, err := r.Snapshot(t.Context(), id); !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("Snapshot = %v, want ErrNotFound", err)
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	if err := r.Commit(t.Context(), s); err != nil {
		t.Errorf("Commit with space again: %v", err)
	}
	return nil
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "is full") || !strings.Contains(err.Error(), "delete snapshots") {
		t.Errorf("%s = %v, want a full repository", what, err)
	}
}

// TestPutCancelled: an endless stream ends with its context.
func TestPutCancelled(t *testing.T) {
	r := create(t)
	ctx, cancel := context.WithCancel(t.Context())
	in := io.MultiReader(noise(1<<20), cancelling{cancel}, zeros{})
	if _, err := r.Put(ctx, id, "n1", in); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want context.Canceled", err)
	}
	wantTree(t, r.dir, "config.json", "data", "snapshots")
}

type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.EOF
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
