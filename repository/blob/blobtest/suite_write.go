package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/snapline/snapline/repository/blob"
)

// noise is data in which no two places look alike.
func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	// ChaCha8's Read returns no error.
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func wantBlob(t *testing.T, s blob.Store, name string, want []byte) {
	t.Helper()
	got, err := Read(t.Context(), s, name)
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes that are not the %d written", name, len(got), len(want))
	}
	if n, err := s.Size(t.Context(), name); err != nil || n != int64(len(want)) {
		t.Errorf("Size(%s) = %d, %v; want %d", name, n, err, len(want))
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func wantNames(t *testing.T, s blob.Store, prefix string, want ...string) {
	t.Helper()
	got, err := Names(t.Context(), s, prefix)
	if err != nil {
		t.Error(err)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("List(%q) = %q, want %q", prefix, got, want)
	}
}

func testRoundTrip(t *testing.T, s blob.Store) {
	for i, n := range []int{0, 1, 4095, 4096, 100_000} {
		name := fmt.Sprintf("packs/%02x/blob-%d.pack", i, n)
		put(t, s, name, noise(byte(i), n))
		wantBlob(t, s, name, noise(byte(i), n))
	}
}

func testReplace(t *testing.T, s blob.Store) {
	put(t, s, "a", noise(1, 5000))
	put(t, s, "a", noise(2, 300))
	wantBlob(t, s, "a", noise(2, 300))
	if err := s.Create(t.Context(), "b", noise(1, 10)); err != nil {
		t.Fatal(err)
	}
	put(t, s, "b", noise(2, 20))
	wantBlob(t, s, "b", noise(2, 20))
	wantNames(t, s, "", "a", "b")
}

func testWrongSize(t *testing.T, s blob.Store) {
	for _, size := range []int64{0, 99, 101, -1} {
		if err := s.Put(t.Context(), "a", size, bytes.NewReader(noise(1, 100))); err == nil {
			t.Errorf("Put of 100 bytes as %d gave no error", size)
		}
	}
	wantNames(t, s, "")
}

// broken is a source that says it has size bytes and fails after half of them.
type broken struct {
	*bytes.Reader
	half int64
}

func (b *broken) Read(p []byte) (int, error) {
	at, _ := b.Seek(0, io.SeekCurrent)
	if at >= b.half {
		return 0, errSource
	}
	return b.Reader.Read(p[:min(int64(len(p)), b.half-at)])
}

func (b *broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.half {
		return 0, errSource
	}
	return b.Reader.ReadAt(p, off)
}

func (b *broken) WriteTo(io.Writer) (int64, error) { return 0, errSource }

var errSource = errors.New("the source broke")

func testBrokenSource(t *testing.T, s blob.Store) {
	put(t, s, "old", noise(1, 100))
	for _, name := range []string{"old", "new"} {
		err := s.Put(t.Context(), name, 100_000, &broken{Reader: bytes.NewReader(noise(2, 100_000)), half: 50_000})
		wantErr(t, "Put "+name+" from a source that breaks", err, errSource)
	}
	wantBlob(t, s, "old", noise(1, 100))
	wantNames(t, s, "", "old")
}

func testPlainSource(t *testing.T, s blob.Store) {
	data := noise(3, 300_000)
	r := struct{ io.ReadSeeker }{bytes.NewReader(data)}
	if _, err := r.Seek(1000, io.SeekStart); err != nil { // Put starts at the start
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "plain", int64(len(data)), r); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, s, "plain", data)
}

func testCreate(t *testing.T, s blob.Store) {
	if err := s.Create(t.Context(), "dir/one", []byte("first")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a second Create", s.Create(t.Context(), "dir/one", []byte("second")), blob.ErrExists)
	wantErr(t, "a Create of the same data", s.Create(t.Context(), "dir/one", []byte("first")), blob.ErrExists)
	wantBlob(t, s, "dir/one", []byte("first"))
	put(t, s, "dir/two", nil)
	wantErr(t, "Create after Put", s.Create(t.Context(), "dir/two", []byte("x")), blob.ErrExists)
	if err := s.Delete(t.Context(), "dir/one"); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "dir/one", nil); err != nil {
		t.Errorf("Create after Delete: %v", err)
	}
	wantBlob(t, s, "dir/one", nil)
	wantNames(t, s, "", "dir/one", "dir/two")
}

// testCreateRace has writers with equal and with different data: exactly one
// may believe that it was first.
func testCreateRace(t *testing.T, s blob.Store) {
	for round := range 10 {
		name := fmt.Sprintf("race/%d", round)
		const writers = 8
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() { errs[w] = s.Create(t.Context(), name, noise(byte(w/2), 64)) })
		}
		wg.Wait()
		winner := -1
		for w, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("%s: writers %d and %d both succeeded", name, winner, w)
			case err == nil:
				winner = w
			case !errors.Is(err, blob.ErrExists):
				t.Errorf("%s: writer %d: %v", name, w, err)
			}
		}
		if winner < 0 {
			t.Fatalf("%s: nobody succeeded", name)
		}
		wantBlob(t, s, name, noise(byte(winner/2), 64))
	}
}

// testPutRace replaces a blob again and again while others read it: each reads
// one version as a whole.
func testPutRace(t *testing.T, s blob.Store) {
	const size = 200_000
	put(t, s, "a", noise(0, size))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 3 {
		writers.Go(func() {
			for range 8 {
				if err := s.Put(t.Context(), "a", size, bytes.NewReader(noise(byte(w), size))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := Read(t.Context(), s, "a")
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(got, noise(0, size)) && !bytes.Equal(got, noise(1, size)) && !bytes.Equal(got, noise(2, size)) {
					t.Errorf("read %d bytes that nobody wrote", len(got))
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	wantNames(t, s, "", "a")
}

// testLarge is larger than what a backend would send in one piece.
func testLarge(t *testing.T, s blob.Store) {
	data := noise(7, 40<<20+12345)
	put(t, s, "large", data)
	wantBlob(t, s, "large", data)
	wantNames(t, s, "", "large")
}
