package disk_test

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
)

// counted counts how often extents are read.
func counted(n *atomic.Int32, all iter.Seq2[snapline.Extent, error]) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		n.Add(1)
		all(yield)
	}
}

// TestPlaceBacking has several members of several agents want the same backing
// file at once: it is made once.
func TestPlaceBacking(t *testing.T) {
	needTools(t)
	dir := t.TempDir()
	stores := []*disk.Store{store(t, t.TempDir()), store(t, t.TempDir())}
	var made atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			path, err := stores[i%2].PlaceBacking(testContext(t), backingTarget(dir), backingDigest(t), counted(&made, filled('b')))
			if err != nil || path != filepath.Join(dir, "base.img") {
				t.Errorf("%s, %v", path, err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
	st, err := os.Stat(filepath.Join(dir, "base.img"))
	if err != nil || st.Mode().Perm() != 0o444 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

// TestPlaceBackingBeside leaves a file of another content alone.
func TestPlaceBackingBeside(t *testing.T) {
	needTools(t)
	dir := t.TempDir()
	theirs := bytes.Repeat([]byte("x"), 8192)
	if err := os.WriteFile(filepath.Join(dir, "base.img"), theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	s, digest := store(t, t.TempDir()), backingDigest(t)
	want := filepath.Join(dir, "base.snapline-"+digest[:12]+".img")
	var made atomic.Int32
	for range 2 {
		found, err := s.FindBacking(testContext(t), backingTarget(dir).Path, "raw", digest)
		if err != nil || found.Path != want || found.Exists != (made.Load() > 0) {
			t.Errorf("%+v, %v", found, err)
		}
		path, err := s.PlaceBacking(testContext(t), backingTarget(dir), digest, counted(&made, filled('b')))
		if err != nil || path != want {
			t.Fatalf("%s, %v", path, err)
		}
	}
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
	if b, err := os.ReadFile(filepath.Join(dir, "base.img")); err != nil || !bytes.Equal(b, theirs) {
		t.Errorf("theirs has changed: %v", err)
	}
	// Neither of the two names is free for a third content.
	if err := errors.Join(os.Chmod(want, 0o600), os.WriteFile(want, theirs, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PlaceBacking(testContext(t), backingTarget(dir), digest, filled('b')); err == nil {
		t.Error("placed where something else is")
	}
}

// TestPlaceDamagedBacking wants nothing at the path when the content is not
// what the digest says.
func TestPlaceDamagedBacking(t *testing.T) {
	needTools(t)
	dir := t.TempDir()
	s := store(t, t.TempDir())
	if _, err := s.PlaceBacking(testContext(t), backingTarget(dir), backingDigest(t), filled('c')); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	if _, err := s.PlaceBacking(testContext(t), backingTarget(dir), backingDigest(t), filled('b')); err != nil {
		t.Error(err)
	}
}

// TestDigestCache asks again and again: a file that has not changed is not read
// again, and one that has is, also when its time was set back.
func TestDigestCache(t *testing.T) {
	needTools(t)
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	if err := os.WriteFile(base, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top)
	st, err := os.Stat(base)
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	ask := func() string {
		t.Helper()
		d, err := disk.OpenChain(testContext(t), top, "qcow2")
		if err != nil {
			t.Fatal(err)
		}
		return digest(t, disk.StillIn(store(t, state), d).Backing())
	}
	remembered := func() []string {
		left, _ := filepath.Glob(filepath.Join(state, "digests", "*"))
		return left
	}
	eventually(t, "the file is old enough to be remembered", func() bool {
		ask()
		return len(remembered()) == 1
	})
	first := ask()
	planted := strings.Repeat("0", len(first)) // shows that nothing is read
	b, err := os.ReadFile(remembered()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(remembered()[0], bytes.Replace(b, []byte(first), []byte(planted), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := ask(); again != planted {
		t.Errorf("read again: %s", again)
	}
	touch(t, base)
	if err := os.Chtimes(base, time.Time{}, st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if again := ask(); again == planted || again == first {
		t.Error("a change was not noticed")
	}
	if err := errors.Join(os.Remove(base), os.Remove(top)); err != nil {
		t.Fatal(err)
	}
	store(t, state)
	if left := remembered(); len(left) > 0 {
		t.Errorf("digests of files that are gone: %v", left)
	}
}
