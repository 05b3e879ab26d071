package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/snapline/snapline"
)

// digestCache remembers the digests of files that do not change, because each
// takes reading the whole file. It is a directory with a file per path. One
// that cannot be read or written costs time, nothing else.
type digestCache struct{ dir string }

// stamp is what tells a file from what it was: whoever writes to it changes the
// ctime, which nobody can set.
type stamp struct {
	identity
	CTime int64 `json:"ctime"` // ns
}

type digestEntry struct {
	Path   string `json:"path"`
	Format string `json:"format"`
	Stamp  stamp  `json:"stamp"`
	Digest string `json:"digest"`
}

// settled is how old a file's last change must be for its stamp to tell it from
// a later one: clocks of file systems tick slowly.
const settled = 2 * time.Second

func stampOf(path string) (stamp, error) {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, fmt.Errorf("stat %s: no inode", path)
	}
	return stamp{
		identity{uint64(sys.Dev), sys.Ino, st.Size(), st.ModTime().UnixNano()},
		time.Unix(sys.Ctim.Unix()).UnixNano(),
	}, nil
}

// forget drops what is about files that are gone.
func (c digestCache) forget() {
	paths, _ := filepath.Glob(filepath.Join(c.dir, "*")) // only a bad pattern fails
	for _, path := range paths {
		e, err := readDigest(path)
		if err == nil {
			_, err = os.Stat(e.Path)
		}
		if err != nil {
			os.Remove(path)
		}
	}
}

func (c digestCache) place(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16]))
}

func readDigest(path string) (digestEntry, error) {
	var e digestEntry
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	return e, err
}

// digest is the file's, remembered or computed.
func (c digestCache) digest(ctx context.Context, b backing) (string, error) {
	path, format := b.file.Filename, b.file.Format
	first, err := stampOf(path)
	if err != nil {
		return "", err
	}
	if c.dir != "" {
		if e, err := readDigest(c.place(path)); err == nil && e.Path == path && e.Format == format && e.Stamp == first {
			return e.Digest, nil
		}
	}
	quiet := time.Since(time.Unix(0, max(first.CTime, first.MTime))) > settled
	sum, err := Digest(b.file.VirtualSize, b.Extents(ctx))
	if err != nil {
		return "", err
	}
	switch now, err := stampOf(path); {
	case err != nil:
		return "", err
	case now != first:
		return "", fmt.Errorf("%s has changed while it was read: a backing file must stay as it is", path)
	}
	if quiet {
		c.remember(path, format, sum)
	}
	return sum, nil
}

// remember is for a file that is known to be as it is now.
func (c digestCache) remember(path, format, sum string) {
	if c.dir == "" {
		return
	}
	now, err := stampOf(path)
	if err != nil {
		return
	}
	line, err := json.Marshal(digestEntry{path, format, now, sum})
	if err != nil {
		return
	}
	if os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	temp, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return
	}
	_, err = temp.Write(line)
	if errors.Join(err, temp.Close()) != nil || os.Rename(temp.Name(), c.place(path)) != nil {
		os.Remove(temp.Name())
	}
}

// cached is a backing file whose digest is remembered.
type cached struct {
	backing
	digests digestCache
}

var _ snapline.BackingFile = cached{}

func (b cached) Digest(ctx context.Context) (string, error) { return b.digests.digest(ctx, b.backing) }
