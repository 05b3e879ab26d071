package dir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestOpen(t *testing.T) {
	root := t.TempDir()
	missing := filepath.Join(root, "a", "b")
	if _, err := Open(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("Open of a missing directory: %v", err)
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("Open of a file: %v", err)
	}
	for range 2 {
		s, err := Create(missing)
		if err != nil || s.String() != missing {
			t.Fatalf("Create = %v, %v", s, err)
		}
	}
	if _, err := Create(filepath.Join(file, "x")); err == nil {
		t.Error("Create below a file gave no error")
	}
}

// TestGone takes the directory away under the store, as an unmount does.
func TestGone(t *testing.T) {
	root := filepath.Join(t.TempDir(), "repo")
	s, err := Create(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "a", 0, -1)
	_, freeErr := s.Free(t.Context())
	_, listErr := blobtest.Names(t.Context(), s, "")
	for what, err := range map[string]error{
		"Put": s.Put(t.Context(), "p/a", 0, bytes.NewReader(nil)), "Create": s.Create(t.Context(), "a", nil), "Get": getErr, "List": listErr, "Free": freeErr,
	} {
		if err == nil || !strings.Contains(err.Error(), "is its file system mounted?") {
			t.Errorf("%s in a directory that is gone: %v", what, err)
		}
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("the directory came back: what was written would be below the mount point")
	}
}

func TestForeignFiles(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	for _, p := range []string{"lost+found/x", "notes of mine", "~tmp/half"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, p), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if names, err := blobtest.Names(t.Context(), s, ""); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	if _, err := s.Size(t.Context(), "fifo"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Size of a FIFO: %v", err)
	}
}

func TestExplain(t *testing.T) {
	for err, want := range map[error]string{
		unix.ENOSPC: "prune the repository", unix.EDQUOT: "raise the quota", unix.EROFS: "mount it for writing",
		unix.EACCES: "owner", unix.EIO: "dmesg", unix.ESTALE: "mount it again",
	} {
		got := explain("/repo", &fs.PathError{Op: "write", Path: "/repo/x", Err: err})
		if !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("explain(%v) = %v, which does not say %q", err, got, want)
		}
		full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
		if errors.Is(got, blob.ErrFull) != full {
			t.Errorf("explain(%v) is ErrFull: %v", err, !full)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := s.Put(b.Context(), "a/blob", int64(len(data)), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if err := s.Put(b.Context(), "blob", int64(len(data)), bytes.NewReader(data)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := s.Get(b.Context(), "blob", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			k, err := r.Read(data)
			n += k
			if err != nil {
				break
			}
		}
		if err := r.Close(); err != nil || n != len(data) {
			b.Fatal(n, err)
		}
	}
}
