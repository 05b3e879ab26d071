package repository

import (
	"testing"

	"github.com/snapline/snapline/repository/pack"
)

// TestFrameSpace: the space of a frame serves again, but not while somebody
// reads it.
func TestFrameSpace(t *testing.T) {
	c := newFrameCache(2 * frameSpace)
	fill := func(n int64) *cachedFrame {
		t.Helper()
		f, mine := c.claim(frameKey{offset: n})
		if !mine {
			t.Fatalf("frame %d is there already", n)
		}
		c.provide(f, append(c.space(pack.Pages), byte(n)), nil)
		return f
	}
	held := fill(1)
	c.release([]*cachedFrame{fill(2)})
	again, mine := c.claim(frameKey{offset: 2})
	if mine || again.users != 1 {
		t.Fatalf("frame 2 was not kept: claimed anew %v, %d users", mine, again.users)
	}
	c.release([]*cachedFrame{fill(3), fill(4)}) // 1 and 2 are given up
	if len(c.spare) != 0 || held.data[0] != 1 || again.data[0] != 2 {
		t.Fatalf("%d spare, frames hold %v and %v", len(c.spare), held.data, again.data)
	}
	c.release([]*cachedFrame{again, held})
	if len(c.spare) != 2 || held.data != nil {
		t.Fatalf("%d spare after the last reader", len(c.spare))
	}
	fill(5)
	if len(c.spare) != 2 { // one taken, and one of those released before
		t.Errorf("%d spare", len(c.spare))
	}
	if c.bytes > c.max || len(c.m) != 2 {
		t.Errorf("%d frames of %d bytes are kept", len(c.m), c.bytes)
	}
}
