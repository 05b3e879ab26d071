package repotest

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

func putDisk(t *testing.T, r snapline.Repository, id snapline.SnapshotID, d snapline.DiskContent) snapline.Object {
	t.Helper()
	o, err := r.PutDisk(t.Context(), id, "n1", "disk0", d)
	if err != nil {
		t.Fatal(err)
	}
	if o.RawBytes != d.Size {
		t.Fatalf("a disk of %d bytes was stored as one of %d", d.Size, o.RawBytes)
	}
	return o
}

// image reads a disk into one piece.
func image(t *testing.T, r snapline.Repository, id snapline.SnapshotID, o snapline.Object) []byte {
	t.Helper()
	list, err := r.OpenDisk(t.Context(), id, "n1", "disk0", o)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, o.RawBytes)
	end := int64(0) // of the last extent
	for e, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		if e.Offset < end || e.Offset+e.Length > o.RawBytes || e.Data != nil && int64(len(e.Data)) != e.Length {
			t.Fatalf("extent of %d bytes at %d after %d", e.Length, e.Offset, end)
		}
		copy(b[e.Offset:], e.Data)
		end = e.Offset + e.Length
	}
	return b
}

func testDisks(t *testing.T, r snapline.Repository) {
	const size = 5<<20 + 512
	want := make([]byte, size)
	copy(want[1<<20:], random(1<<20))
	copy(want[size-512:], random(512))
	o := putDisk(t, r, id, snapline.DiskContent{Size: size, Extents: extents(
		data(1<<20, want[1<<20:2<<20]), data(3<<20, random(8192)), snapline.Extent{Offset: 3 << 20, Length: 8192}, data(5<<20, want[5<<20:]),
	)})
	if !bytes.Equal(image(t, r, id, o), want) {
		t.Error("another disk came back")
	}
	if err := r.VerifyDisk(t.Context(), id, "n1", "disk0", o); err != nil {
		t.Error(err)
	}
	other := o
	other.Digest = putDisk(t, r, "etcd-8", snapline.DiskContent{Size: size}).Digest
	_, err := r.OpenDisk(t.Context(), id, "n1", "disk0", other)
	wantDamage(t, err)
	wantDamage(t, r.VerifyDisk(t.Context(), id, "n1", "disk0", other))
	wantDamage(t, r.VerifyDisk(t.Context(), id, "n1", "missing", o))
}

// testDiskHoles tells zeros that were written, which hide a backing file, from
// what was never written, through which it is seen.
func testDiskHoles(t *testing.T, r snapline.Repository) {
	const size = 40 << 20
	zeros := []snapline.Extent{{Offset: 4096, Length: 8192}, {Offset: 20 << 20, Length: 9 << 20}, {Offset: 39 << 20, Length: 4096, Data: make([]byte, 4096)}}
	full := data(32<<20, random(4096))
	o := putDisk(t, r, id, snapline.DiskContent{Size: size, Extents: extents(append(zeros, full)...)})
	list, err := r.OpenDisk(t.Context(), id, "n1", "disk0", o)
	if err != nil {
		t.Fatal(err)
	}
	var hidden, shown int64
	for e, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		for at := e.Offset; at < e.Offset+e.Length; at += snapline.PageSize {
			inside := at == full.Offset
			for _, z := range zeros {
				inside = inside || at >= z.Offset && at < z.Offset+z.Length
			}
			if inside {
				hidden++
			} else {
				shown++
			}
		}
	}
	if hidden != 2+9<<20/4096+1+1 || shown != 0 {
		t.Errorf("%d pages that were stored came back, and %d that were not", hidden, shown)
	}
}

func wantDamage(t *testing.T, err error) {
	t.Helper()
	want(t, "read of another disk", err, snapline.ErrDamaged)
}

func testDiskBase(t *testing.T, r snapline.Repository) {
	old := random(1 << 20)
	base := putDisk(t, r, "etcd-6", snapline.DiskContent{Size: 1 << 20, Extents: extents(data(0, old))})
	same := putDisk(t, r, id, snapline.DiskContent{Size: 1 << 20, Base: &snapline.DiskRef{Snapshot: "etcd-6", Name: "disk0", Object: base}})
	if !bytes.Equal(image(t, r, id, same), old) {
		t.Error("the base is not what stands under no extents")
	}
	changed := slices.Clone(old)
	copy(changed[4096:], random(4096))
	o := putDisk(t, r, "etcd-8", snapline.DiskContent{Size: 1 << 20, Extents: extents(data(4096, changed[4096:8192])),
		Base: &snapline.DiskRef{Snapshot: "etcd-6", Name: "disk0", Object: base}})
	if !bytes.Equal(image(t, r, "etcd-8", o), changed) {
		t.Error("an extent does not stand above the base")
	}
}

func testDiskUnsound(t *testing.T, r snapline.Repository) {
	broken := errors.New("the disk broke")
	for name, list := range map[string]iter.Seq2[snapline.Extent, error]{
		"odd offset":     extents(data(512, make([]byte, 4096))),
		"odd end":        extents(data(0, make([]byte, 512))),
		"past the end":   extents(data(1<<20, make([]byte, 4096))),
		"data too short": extents(snapline.Extent{Length: 8192, Data: make([]byte, 4096)}),
		"failing":        func(yield func(snapline.Extent, error) bool) { yield(snapline.Extent{}, broken) },
	} {
		if _, err := r.PutDisk(t.Context(), id, "n1", "disk0", snapline.DiskContent{Size: 1 << 20, Extents: list}); err == nil || name == "failing" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want(t, "Delete of nothing", r.Delete(t.Context(), id), snapline.ErrNotFound)
}

func testCommitDisks(t *testing.T, r snapline.Repository) {
	record := Record(id, noon(), map[snapline.MemberName]snapline.Object{"n1": put(t, r, id, "n1", []byte("state"))})
	disk, err := r.PutDisk(t.Context(), id, "n1", "disk0", snapline.DiskContent{Size: 8192, Extents: extents(data(0, random(4096)))})
	if err != nil {
		t.Fatal(err)
	}
	record.Members[0].Disks = []snapline.DiskSnapshot{{
		DiskInfo: snapline.DiskInfo{ID: "vda", Path: "/vm/n1.qcow2", Format: "qcow2", Size: 8192, ClusterSize: 65536}, Name: "disk0", Object: disk,
		Backing: &snapline.BackingSnapshot{DiskInfo: snapline.DiskInfo{Path: "/vm/base.raw", Format: "raw", Size: 8192}, Name: "disk0-backing", Digest: "d", Object: disk},
	}}
	want(t, "Commit without the backing file", r.Commit(t.Context(), record), snapline.ErrDamaged)
	record.Members[0].Disks[0].Backing.Object, err = r.PutDisk(t.Context(), id, "n1", "disk0-backing", snapline.DiskContent{Size: 8192})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	got, err := r.Snapshot(t.Context(), id)
	if err != nil || got.Members[0].Disks[0].Backing.Object != record.Members[0].Disks[0].Backing.Object || got.Members[0].Disks[0].DiskInfo != record.Members[0].Disks[0].DiskInfo {
		t.Errorf("%+v, %v", got.Members[0].Disks, err)
	}
	if _, err := r.PutDisk(t.Context(), id, "n1", "disk0", snapline.DiskContent{Size: 8192}); !errors.Is(err, snapline.ErrExists) {
		t.Errorf("PutDisk after the commit: %v", err)
	}
}
