package repo

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repotest"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(crashAt); at != "" {
		crash(os.Getenv(crashDir), at) // this process is a child of TestCrash
	}
	goleak.VerifyTestMain(m)
}

const id = snapline.SnapshotID("etcd-7")

// create makes a repository in a new directory.
func create(t testing.TB) *Repository {
	t.Helper()
	return open(t, t.TempDir(), Options{Create: true})
}

func open(t testing.TB, dir string, o Options) *Repository {
	t.Helper()
	r, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stored is a repository with one committed snapshot of one member.
func stored(t testing.TB, stream []byte) (*Repository, snapline.Snapshot) {
	t.Helper()
	r := create(t)
	o, err := r.Put(t.Context(), id, "n1", bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	s := record(id, o)
	if err := r.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return r, s
}

func record(id snapline.SnapshotID, n1 snapline.Object) snapline.Snapshot {
	return repotest.Record(id, time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), map[snapline.MemberName]snapline.Object{"n1": n1})
}

// tree lists the files and directories below dir, sorted.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantTree(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Errorf("on disk:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestRepository(t *testing.T) {
	repotest.Run(t, func(t *testing.T) snapline.Repository { return create(t) })
}

func TestLayout(t *testing.T) {
	r, s := stored(t, []byte("state"))
	wantTree(t, r.dir, "config.json", "data", "data/etcd-7", "data/etcd-7/n1.zst", "snapshots", "snapshots/etcd-7.json")
	again := open(t, r.dir, Options{})
	if again.ID() != r.ID() {
		t.Errorf("id %q, want %q", again.ID(), r.ID())
	}
	if err := again.Verify(t.Context(), id, "n1", s.Members[0].Object); err != nil {
		t.Error(err)
	}
	if err := again.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
	wantTree(t, r.dir, "config.json", "data", "snapshots")
}

// TestGolden keeps today's files readable for ever.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/format1")); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, Options{})
	if r.ID() != "J5TE7VVNP3XCBCMPSSO7N5A5GM" {
		t.Errorf("id %q", r.ID())
	}
	s, err := r.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Member("n1"); m == nil || s.Note != "a <note> & more" || s.Cut.DurationMS != 12.5 || m.VM.Args[3] != "ünï" {
		t.Errorf("the record reads %+v", s)
	}
	got, err := readAll(t.Context(), r, s.Members[0].Object)
	if err != nil || string(got) != "state of n1\n" {
		t.Errorf("read %q, %v", got, err)
	}
}

func BenchmarkPut(b *testing.B) {
	r := create(b)
	stream := ram(64 << 20)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if _, err := r.Put(b.Context(), id, "n1", bytes.NewReader(stream)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	stream := ram(64 << 20)
	r, s := stored(b, stream)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		f, err := r.Open(b.Context(), id, "n1", s.Members[0].Object)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// ram returns bytes that compress about as a guest's memory does: two thirds
// of the pages are zero, the others half random.
func ram(n int) []byte {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		if page := i / 4096; page%3 != 0 || i%2 == 0 {
			continue
		}
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return b
}
