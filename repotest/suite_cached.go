package repotest

import (
	"context"
	"testing"

	"github.com/snapline/snapline"
)

// testNear is for those that implement snapline.Cached.
func testNear(t *testing.T, r snapline.Repository) {
	c, ok := r.(snapline.Cached)
	if !ok {
		return
	}
	m := snapline.MemberSnapshot{Name: "n1", Object: put(t, r, id, "n1", random(1<<20))}
	disk := random(2 << 20)[1<<20:]
	m.Disks = []snapline.DiskSnapshot{{Name: "disk0", Object: putDisk(t, r, id, snapline.DiskContent{Size: int64(len(disk)), Extents: extents(data(0, disk))})}}
	all, err := c.Near(t.Context(), id, m)
	if err != nil || all.Bytes < 0 || all.Bytes > all.Of {
		t.Errorf("Near = %+v, %v", all, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if n, err := c.Near(ended, id, m); err != nil || n.Bytes > all.Bytes {
		t.Errorf("Near without any time = %+v, %v; with enough %+v", n, err, all)
	}
	if all == (snapline.Nearness{}) {
		return // it keeps nothing
	}
	m.Disks = nil
	if n, err := c.Near(t.Context(), id, m); err != nil || n.Of >= all.Of {
		t.Errorf("Near = %+v, %v without the disk, %+v with it", n, err, all)
	}
}
