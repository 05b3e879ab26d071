package repository

import (
	"container/list"
	"context"
	"sync"

	"github.com/snapline/snapline/repository/pack"
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
// whoever else wants it meanwhile waits.
type frameCache struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	m     map[frameKey]*cachedFrame
	lru   list.List // of *cachedFrame, the one used last in front
}

type cachedFrame struct {
	key   frameKey
	ready chan struct{}
	data  []byte // once ready is closed
	err   error
	at    *list.Element // once it is ready and kept
}

func newFrameCache(max int64) *frameCache {
	return &frameCache{max: max, m: map[frameKey]*cachedFrame{}}
}

// claim returns the frame, and whether the caller must provide it.
func (c *frameCache) claim(k frameKey) (f *cachedFrame, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.m[k]; ok {
		if f.at != nil {
			c.lru.MoveToFront(f.at)
		}
		return f, false
	}
	f = &cachedFrame{key: k, ready: make(chan struct{})}
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
	c.bytes += int64(len(data))
	for c.bytes > c.max && c.lru.Len() > 1 {
		last := c.lru.Remove(c.lru.Back()).(*cachedFrame)
		delete(c.m, last.key)
		c.bytes -= int64(len(last.data))
	}
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
