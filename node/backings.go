package node

import (
	"sync"

	"github.com/snapline/snapline"
)

// backings remembers in which snapshot each backing file was stored last, so
// that the next one need not read it again. A reference may have become stale:
// the repository says so.
type backings struct {
	mu  sync.Mutex
	all map[backingKey]snapline.DiskRef
}

type backingKey struct {
	memberKey
	digest string
}

func (b *backings) get(k memberKey, digest string) (snapline.DiskRef, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ref, ok := b.all[backingKey{k, digest}]
	return ref, ok
}

func (b *backings) put(k memberKey, digest string, ref snapline.DiskRef) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[backingKey]snapline.DiskRef{}
	}
	b.all[backingKey{k, digest}] = ref
}
