package repotest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// Run checks what snapline.Repository promises. open returns an empty
// repository; its t.Cleanup removes it.
func Run(t *testing.T, open func(t *testing.T) snapline.Repository) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, r snapline.Repository)
	}{
		{"empty", testEmpty},
		{"streams come back", testStreams},
		{"later attempt replaces", testReplace},
		{"failing stream leaves nothing", testFailingStream},
		{"members at the same time", testMembersAtOnce},
		{"another object is damage", testOtherObject},
		{"disks come back", testDisks},
		{"zeros and holes of a disk", testDiskHoles},
		{"disk on a base", testDiskBase},
		{"disk that makes no sense", testDiskUnsound},
		{"commit needs all disks", testCommitDisks},
		{"commit", testCommit},
		{"commit is once", testCommitOnce},
		{"commit needs all data", testCommitIncomplete},
		{"commit needs a sound record", testCommitUnsound},
		{"put after commit is refused", testPutAfterCommit},
		{"list is oldest first", testList},
		{"delete", testDelete},
		{"delete what a round left", testDeleteAborted},
		{"give up", testGiveUp},
		{"give up or commit", testGiveUpOrCommit},
		{"bad names are refused", testBadNames},
		{"what is near", testNear},
		{"ended context", testContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

const id = snapline.SnapshotID("etcd-7")

// Record returns a sound record of those members, for Commit.
func Record(id snapline.SnapshotID, at time.Time, objects map[snapline.MemberName]snapline.Object) snapline.Snapshot {
	group, _, err := id.Split()
	if err != nil {
		panic(err)
	}
	s := snapline.Snapshot{
		Format: snapline.SnapshotFormat, ID: id, Note: "a <note> & more", TakenAt: at.UTC(),
		Group: snapline.Group{Name: group},
		Cut:   snapline.CutReport{Strategy: snapline.Colour, DurationMS: 12.5, Withheld: 3},
	}
	for m, o := range objects {
		s.Group.Members = append(s.Group.Members, snapline.Member{Name: m, Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/" + string(m)}})
		s.Members = append(s.Members, snapline.MemberSnapshot{
			Name: m, Host: "h1", Object: o,
			VM: snapline.VMInfo{Hypervisor: "qemu", Args: []string{"-m", "256", "-name", "ünï"}, NICs: []snapline.NIC{{ID: "net0", MAC: "52:54:00:00:00:01"}}},
		})
	}
	slices.SortFunc(s.Members, func(a, b snapline.MemberSnapshot) int { return strings.Compare(string(a.Name), string(b.Name)) })
	slices.SortFunc(s.Group.Members, func(a, b snapline.Member) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return s
}

// noon is when the suite's snapshots are taken.
func noon() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC) }

func put(t *testing.T, r snapline.Repository, id snapline.SnapshotID, m snapline.MemberName, stream []byte) snapline.Object {
	t.Helper()
	o, err := r.Put(t.Context(), id, m, bytes.NewReader(stream))
	if err != nil {
		t.Fatalf("Put(%s, %s): %v", id, m, err)
	}
	if o.RawBytes != int64(len(stream)) {
		t.Fatalf("Put(%s, %s): %d raw bytes, want %d", id, m, o.RawBytes, len(stream))
	}
	return o
}

// commit stores one member's stream and commits.
func commit(t *testing.T, r snapline.Repository, id snapline.SnapshotID, at time.Time) snapline.Snapshot {
	t.Helper()
	s := Record(id, at, map[snapline.MemberName]snapline.Object{"n1": put(t, r, id, "n1", []byte("state of "+id))})
	if err := r.Commit(t.Context(), s); err != nil {
		t.Fatalf("Commit(%s): %v", id, err)
	}
	return s
}

func read(ctx context.Context, r snapline.Repository, id snapline.SnapshotID, m snapline.MemberName, o snapline.Object) ([]byte, error) {
	f, err := r.Open(ctx, id, m, o)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func list(t *testing.T, r snapline.Repository) []snapline.SnapshotID {
	t.Helper()
	all, err := r.List(t.Context())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	var ids []snapline.SnapshotID
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	return ids
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s = %v, want %q", what, err, target)
	}
}

// random returns bytes that do not compress.
func random(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func testEmpty(t *testing.T, r snapline.Repository) {
	if r.ID() == "" || r.ID() != r.ID() {
		t.Errorf("id %q", r.ID())
	}
	if free, err := r.Free(t.Context()); err != nil || free <= 0 {
		t.Errorf("Free = %d, %v", free, err)
	}
	if ids := list(t, r); len(ids) != 0 {
		t.Errorf("List = %q", ids)
	}
	_, err := r.Snapshot(t.Context(), id)
	want(t, "Snapshot", err, snapline.ErrNotFound)
	want(t, "Delete", r.Delete(t.Context(), id), snapline.ErrNotFound)
}

func testBadNames(t *testing.T, r snapline.Repository) {
	o := put(t, r, id, "n1", []byte("x"))
	type bad struct {
		id snapline.SnapshotID
		m  snapline.MemberName
	}
	for _, b := range []bad{
		{"", "n1"}, {"etcd", "n1"}, {"../x-1", "n1"}, {"etcd-0", "n1"}, {"etcd-01", "n1"}, {".-1", "n1"}, {"etcd-7/..", "n1"},
		{id, ""}, {id, "."}, {id, ".."}, {id, "../n1"}, {id, "N1"}, {id, "n1\x00"},
	} {
		if _, err := r.Put(t.Context(), b.id, b.m, bytes.NewReader(nil)); err == nil {
			t.Errorf("Put(%q, %q) was accepted", b.id, b.m)
		}
		if _, err := read(t.Context(), r, b.id, b.m, o); err == nil {
			t.Errorf("Open(%q, %q) was accepted", b.id, b.m)
		}
		if err := r.Verify(t.Context(), b.id, b.m, o); err == nil {
			t.Errorf("Verify(%q, %q) was accepted", b.id, b.m)
		}
		if b.id == id {
			continue
		}
		if _, err := r.Snapshot(t.Context(), b.id); err == nil || errors.Is(err, snapline.ErrNotFound) {
			t.Errorf("Snapshot(%q) = %v, want another error", b.id, err)
		}
		if err := r.Delete(t.Context(), b.id); err == nil || errors.Is(err, snapline.ErrNotFound) {
			t.Errorf("Delete(%q) = %v, want another error", b.id, err)
		}
	}
}

func testContext(t *testing.T, r snapline.Repository) {
	s := commit(t, r, id, noon())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := r.Put(ctx, "etcd-8", "n1", bytes.NewReader(random(1000)))
	_, readErr := read(ctx, r, id, "n1", s.Members[0].Object)
	_, snapErr := r.Snapshot(ctx, id)
	_, listErr := r.List(ctx)
	other := s
	other.ID = "etcd-9"
	for name, err := range map[string]error{
		"Put": putErr, "read": readErr, "Snapshot": snapErr, "List": listErr,
		"Verify": r.Verify(ctx, id, "n1", s.Members[0].Object), "Commit": r.Commit(ctx, other), "Delete": r.Delete(ctx, id),
	} {
		want(t, name, err, context.Canceled)
	}
	want(t, "Delete of what Put did not leave", r.Delete(t.Context(), "etcd-8"), snapline.ErrNotFound)
	if ids := list(t, r); !slices.Equal(ids, []snapline.SnapshotID{id}) {
		t.Errorf("List = %q", ids)
	}
}
