package repository

import (
	"context"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/pack"
)

// packCache keeps whole packs in a directory, as they are stored, so that what
// a machine has written or read lately comes from its own disk. It is a help
// only: its errors are nobody's, and what it returns is authenticated like what
// the storage returns. A nil one keeps nothing.
type packCache struct {
	dir string
	max int64 // bytes

	mu sync.Mutex // one writer at a time in this process

	reading sync.Mutex                // guards those below
	asked   map[pack.ID]int64         // bytes that were read of packs that are not here
	coming  map[pack.ID]chan struct{} // closed when the whole pack has come, or has not
}

func newPackCache(dir string, max int64) *packCache {
	return &packCache{dir: dir, max: max, asked: map[pack.ID]int64{}, coming: map[pack.ID]chan struct{}{}}
}

func (c *packCache) path(id pack.ID) string { return filepath.Join(c.dir, hex.EncodeToString(id[:])) }

// get reads a part of a pack of that size, as much as b holds. cached says that
// it came from here.
func (c *packCache) get(ctx context.Context, s blob.Store, id pack.ID, size, off int64, b []byte) (cached bool, err error) {
	if c == nil {
		return false, readFull(ctx, s, packName(id), off, b)
	}
	if c.lookup(id, off, b) {
		return true, nil
	}
	wait, mine := c.wants(id, size, int64(len(b)))
	if mine {
		return false, c.fetch(ctx, s, id, size, off, b)
	}
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		if c.lookup(id, off, b) {
			return true, nil
		}
	}
	return false, readFull(ctx, s, packName(id), off, b)
}

// wholeShare: a pack of which an eighth was read is kept as a whole. A machine
// that is read in order asks for a little of a pack, then a little more.
const wholeShare = 8

// wants notes that n bytes of a pack are read. The caller fetches the pack if it
// is his, waits if somebody else does, and reads his part alone otherwise.
func (c *packCache) wants(id pack.ID, size, n int64) (wait <-chan struct{}, mine bool) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if done, ok := c.coming[id]; ok {
		return done, false
	}
	c.asked[id] += n
	if c.asked[id] < size/wholeShare || size > c.max {
		return nil, false
	}
	delete(c.asked, id)
	c.coming[id] = make(chan struct{})
	return nil, true
}

// fetch reads a whole pack, keeps it, and fills b from it.
func (c *packCache) fetch(ctx context.Context, s blob.Store, id pack.ID, size, off int64, b []byte) error {
	defer func() {
		c.reading.Lock()
		defer c.reading.Unlock()
		close(c.coming[id])
		delete(c.coming, id)
	}()
	whole, err := readRange(ctx, s, packName(id), 0, size)
	if err != nil {
		return err
	}
	c.put(id, whole)
	copy(b, whole[off:])
	return nil
}

// lookup returns false when the pack is not here.
func (c *packCache) lookup(id pack.ID, off int64, b []byte) bool {
	f, err := os.Open(c.path(id))
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.ReadAt(b, off); err != nil {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(f.Name(), now, now) // used last; if not, it goes a little early
	return true
}

// put keeps a pack, and gives up those used longest ago.
func (c *packCache) put(id pack.ID, b []byte) {
	if c == nil || int64(len(b)) > c.max {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if os.MkdirAll(c.dir, 0o700) != nil || !c.makeRoom(int64(len(b))) {
		return
	}
	f, err := os.CreateTemp(c.dir, packTmp+"*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if closeErr := f.Close(); err != nil || closeErr != nil || os.Rename(f.Name(), c.path(id)) != nil {
		_ = os.Remove(f.Name())
	}
}

// packTmp begins the names of packs that are being written.
const packTmp = ".tmp-"

// makeRoom reports whether there is space for n bytes now.
func (c *packCache) makeRoom(n int64) bool {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return false
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
			n += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if n <= c.max {
			break
		}
		if os.Remove(filepath.Join(c.dir, f.Name())) == nil {
			n -= f.Size()
		}
	}
	return n <= c.max
}

// drop removes a pack.
func (c *packCache) drop(id pack.ID) {
	if c != nil {
		_ = os.Remove(c.path(id))
	}
}

// cleanPacks removes what crashed processes left unfinished.
func cleanPacks(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), packTmp) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
