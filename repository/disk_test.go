package repository

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/snapline/snapline"
)

func extents(list ...snapline.Extent) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func data(offset int64, b []byte) snapline.Extent {
	return snapline.Extent{Offset: offset, Length: int64(len(b)), Data: b}
}

// image reads a disk into one piece.
func image(t *testing.T, r *Repository, id snapline.SnapshotID, o snapline.Object) []byte {
	t.Helper()
	list, err := r.OpenDisk(t.Context(), id, "n1", "vda", o)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, o.RawBytes)
	end := int64(0) // of the last extent
	for e, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		if e.Offset < end || e.Data != nil && e.Length != int64(len(e.Data)) {
			t.Fatalf("extent of %d bytes at %d after %d", e.Length, e.Offset, end)
		}
		copy(b[e.Offset:], e.Data)
		end = e.Offset + e.Length
	}
	return b
}

func TestDisk(t *testing.T) {
	r := create(t, nil)
	const size = 40<<20 + 512
	content := ram(3, 2<<20)
	want := make([]byte, size)
	copy(want[8<<20:], content)
	copy(want[size-512:], bytes.Repeat([]byte("end."), 128))
	first, err := r.PutDisk(t.Context(), "etcd-1", "n1", "vda", snapline.DiskContent{Size: size, Extents: extents(
		data(0, ram(9, 1<<20)), data(8<<20, content), data(size-512, want[size-512:]), snapline.Extent{Offset: 0, Length: 1 << 20})})
	if err != nil {
		t.Fatal(err)
	}
	if got := image(t, r, "etcd-1", first); !bytes.Equal(got, want) {
		t.Error("the disk came back changed")
	}
	if first.RawBytes != size {
		t.Errorf("%d raw bytes", first.RawBytes)
	}
	copy(want[16<<20:], content) // only what is new is said
	clear(want[8<<20 : 9<<20])
	second, err := r.PutDisk(t.Context(), "etcd-2", "n1", "vda", snapline.DiskContent{Size: size, Base: &snapline.DiskRef{Snapshot: "etcd-1", Name: "vda", Object: first},
		Extents: extents(data(16<<20, content), snapline.Extent{Offset: 8 << 20, Length: 1 << 20})})
	if err != nil {
		t.Fatal(err)
	}
	if got := image(t, r, "etcd-2", second); !bytes.Equal(got, want) {
		t.Error("the increment came back changed")
	}
	if second.StoredBytes > 32<<10 {
		t.Errorf("the same content elsewhere takes %d bytes", second.StoredBytes)
	}
	if err := r.VerifyDisk(t.Context(), "etcd-2", "n1", "vda", second); err != nil {
		t.Error(err)
	}
	for _, e := range mustOpen(t, r, second) {
		_ = e
		break // a consumer that has had enough leaves nothing running
	}
	if _, err := readAll(t, r, "etcd-2", second); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("a disk read as a stream: %v", err)
	}
}

func mustOpen(t *testing.T, r *Repository, o snapline.Object) []snapline.Extent {
	t.Helper()
	list, err := r.OpenDisk(t.Context(), "etcd-2", "n1", "vda", o)
	if err != nil {
		t.Fatal(err)
	}
	for e := range list {
		return []snapline.Extent{e}
	}
	return nil
}

func TestDiskRefuses(t *testing.T) {
	r := create(t, nil)
	broken := errors.New("broken")
	page := make([]byte, 4096)
	for name, d := range map[string]snapline.DiskContent{
		"negative size":   {Size: -1, Extents: extents()},
		"too large":       {Size: 1 << 62, Extents: extents()},
		"beyond the end":  {Size: 4096, Extents: extents(data(4096, page))},
		"negative offset": {Size: 1 << 20, Extents: extents(data(-4096, page))},
		"unaligned":       {Size: 1 << 20, Extents: extents(data(512, page))},
		"part of a page":  {Size: 1 << 20, Extents: extents(data(0, page[:100]))},
		"less data":       {Size: 1 << 20, Extents: extents(snapline.Extent{Length: 8192, Data: page})},
		"overflow":        {Size: 1 << 20, Extents: extents(snapline.Extent{Offset: 1 << 62, Length: 1 << 62})},
		"no such base":    {Size: 1 << 20, Extents: extents(), Base: &snapline.DiskRef{Snapshot: "etcd-99", Name: "vda"}},
		"broken source":   {Size: 1 << 20, Extents: func(yield func(snapline.Extent, error) bool) { yield(snapline.Extent{}, broken) }},
	} {
		if _, err := r.PutDisk(t.Context(), "etcd-1", "n1", "vda", d); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := r.Delete(t.Context(), "etcd-1"); !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("something is left: %v", err)
	}
	for _, bad := range []string{"", "..", "a/b", "vda.x"} {
		if _, err := r.PutDisk(t.Context(), "etcd-1", "n1", bad, snapline.DiskContent{Extents: extents()}); err == nil {
			t.Errorf("disk name %q: accepted", bad)
		}
	}
	o, err := r.PutDisk(t.Context(), "etcd-1", "n1", "vda", snapline.DiskContent{Extents: extents()})
	if err != nil || len(image(t, r, "etcd-1", o)) != 0 {
		t.Errorf("an empty disk: %v", err)
	}
}

func TestDiskNamesAreApart(t *testing.T) {
	r := create(t, nil)
	var roots []string
	for _, d := range []string{"vda", "vdb"} {
		if _, err := r.PutDisk(t.Context(), id, "n1", d, snapline.DiskContent{Size: 4096, Extents: extents(data(0, bytes.Repeat([]byte(d), 2000)[:4096]))}); err != nil {
			t.Fatal(err)
		}
	}
	stored(t, r, id, []byte("stream"))
	list, err := r.listRoots(t.Context())
	for _, ref := range list {
		roots = append(roots, ref.object)
	}
	if err != nil || !slices.Equal(roots, []string{"n1", "n1.vda", "n1.vdb"}) {
		t.Errorf("roots %q, %v", roots, err)
	}
}
