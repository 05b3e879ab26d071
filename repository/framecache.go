package repository

import (
	"container/list"
	"context"
	"sync"

	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// frameCacheBytes bounds the frames that are kept unpacked, over all streams.
// A page that was changed lately lies in a small frame among its neighbours in
// time, so a few frames of each generation are in use at any moment.
const frameCacheBytes = 64 << 20

// frameKey names a frame.
type frameKey struct {
	pack   pack.ID
	offset int64
}

// frameCache holds unpacked frames, those used last. Each is unpacked once,
// whoever else wants it meanwhile waits. The space of a frame that is given up
// serves for another one as soon as nobody reads it any more: a machine's memory
// goes through the cache at hundreds of MiB a second, and the collector would
// take its share of the processor for them.
type frameCache struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	m     map[frameKey]*cachedFrame
	lru   list.List // of *cachedFrame, the one used last in front
	spare [][]byte
}

type cachedFrame struct {
	key   frameKey
	ready chan struct{}
	data  []byte // once ready is closed
	err   error
	at    *list.Element // once it is ready and kept
	users int           // claims that were not released
}

func newFrameCache(max int64) *frameCache {
	return &frameCache{max: max, m: map[frameKey]*cachedFrame{}}
}

// claim returns the frame, and whether the caller must provide it. Its data are
// the caller's to read until release.
func (c *frameCache) claim(k frameKey) (f *cachedFrame, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.m[k]; ok {
		if f.at != nil {
			c.lru.MoveToFront(f.at)
		}
		f.users++
		return f, false
	}
	f = &cachedFrame{key: k, ready: make(chan struct{}), users: 1}
	c.m[k] = f
	return f, true
}

// provide ends a claim. A failure is not remembered.
func (c *frameCache) provide(f *cachedFrame, data []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.data, f.err = data, err
	close(f.ready)
	if err != nil {
		delete(c.m, f.key)
		return
	}
	f.at = c.lru.PushFront(f)
	c.bytes += int64(cap(data))
	for c.bytes > c.max && c.lru.Len() > 1 {
		last := c.lru.Remove(c.lru.Back()).(*cachedFrame)
		last.at = nil
		delete(c.m, last.key)
		c.bytes -= int64(cap(last.data))
		c.recycle(last)
	}
}

// release ends claims: their data may be overwritten.
func (c *frameCache) release(list []*cachedFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range list {
		f.users--
		c.recycle(f)
	}
}

// maxSpare bounds what is kept for frames to come: 8 MiB.
const maxSpare = 32

// recycle keeps the space of a frame that is neither in the cache nor read.
func (c *frameCache) recycle(f *cachedFrame) {
	if f.at != nil || f.users > 0 {
		return
	}
	if cap(f.data) >= frameSpace && len(c.spare) < maxSpare {
		c.spare = append(c.spare, f.data[:0])
	}
	f.data = nil
}

// frameSpace holds any frame of pages. The decoder wants a few bytes more, to
// copy in large steps (klauspost/compress, compressedBlockOverAlloc).
const frameSpace = pack.FrameObjects*page.Size + 64

// space returns where a frame of that kind can be unpacked.
func (c *frameCache) space(k pack.Kind) []byte {
	if k != pack.Pages {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.spare) - 1; n >= 0 {
		b := c.spare[n]
		c.spare = c.spare[:n]
		return b
	}
	return make([]byte, 0, frameSpace)
}

// wait returns a frame that somebody else provides.
func (f *cachedFrame) wait(ctx context.Context) ([]byte, error) {
	select {
	case <-f.ready:
		return f.data, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
