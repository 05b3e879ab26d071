package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, location string) *Store {
	t.Helper()
	c, err := Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	for _, prefix := range []string{"", "some/prefix"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, server.Location(t, prefix)) })
		})
	}
}

// TestPrefixes has two stores in one bucket that must not see each other.
func TestPrefixes(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	bucket := server.Bucket(t)
	stores := map[string]*Store{}
	for _, prefix := range []string{"a", "ab", "c/d"} {
		s := open(t, s3test.At(server.Endpoint, bucket, prefix))
		if err := s.Create(t.Context(), "x", []byte(prefix)); err != nil {
			t.Fatal(err)
		}
		stores[prefix] = s
	}
	for prefix, s := range stores {
		names, err := blobtest.Names(t.Context(), s, "")
		if err != nil || len(names) != 1 || names[0] != "x" {
			t.Errorf("store %s lists %q: %v", prefix, names, err)
		}
		if got, err := blobtest.Read(t.Context(), s, "x"); err != nil || string(got) != prefix {
			t.Errorf("store %s holds %q: %v", prefix, got, err)
		}
	}
}

// TestPages lists over many pages, deleting what was listed.
func TestPages(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	s := open(t, server.Location(t, "p"))
	s.pageSize = 7
	var want []string
	var wg sync.WaitGroup
	for i := range 40 {
		name := fmt.Sprintf("packs/%02x/%03d", i%4, i)
		want = append(want, name)
		wg.Go(func() {
			if err := s.Create(t.Context(), name, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	last, n := "", 0
	err := s.List(t.Context(), "packs/", func(name string, _ int64) error {
		if name <= last {
			t.Errorf("%s came after %s", name, last)
		}
		last, n = name, n+1
		return s.Delete(t.Context(), name)
	})
	if err != nil || n != len(want) {
		t.Errorf("listed %d of %d: %v", n, len(want), err)
	}
}

func TestCredentialSources(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	location := server.Location(t, "")
	file := filepath.Join(t.TempDir(), "credentials")
	text := fmt.Sprintf("[default]\naws_access_key_id = nobody\naws_secret_access_key = wrong\n[backup]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
		server.AccessKey, server.SecretKey)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	open(t, location+"&profile=backup&credentials="+file)
	wantOpen(t, location, "set AWS_ACCESS_KEY_ID")
	wantOpen(t, location+"&credentials="+file, "does not know these credentials")
	wantOpen(t, location+"&credentials="+file+"&profile=other", "[other]")
	wantOpen(t, location+"&credentials=/missing", "no such file")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	open(t, location+"&profile=backup")
	t.Setenv("AWS_PROFILE", "backup")
	open(t, location)
}

// wantOpen opens what must be refused, with a message that says so.
func wantOpen(t *testing.T, location, want string) {
	t.Helper()
	c, err := Parse(location)
	if err == nil {
		var s *Store
		if s, err = Open(t.Context(), c); err == nil {
			_ = s.Close()
		}
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("open %s: %v\nwanted it to say %q", location, err, want)
	} else {
		t.Logf("%v", err)
	}
}

func TestContextEndsUpload(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	s := open(t, server.Location(t, ""))
	ctx, cancel := context.WithCancel(t.Context())
	data := make([]byte, 64<<20)
	r := &cancelling{Reader: bytes.NewReader(data), cancel: cancel}
	if err := s.Put(ctx, "a", int64(len(data)), r); !errors.Is(err, context.Canceled) {
		t.Errorf("Put whose context ended: %v", err)
	}
	names, err := blobtest.Names(t.Context(), s, "")
	if err != nil || len(names) != 0 {
		t.Errorf("it left %q: %v", names, err)
	}
	wantNoUploads(t, s)
}

// wantNoUploads holds that no parts are kept of what did not become a blob.
func wantNoUploads(t *testing.T, s *Store) {
	t.Helper()
	r, err := s.client.ListMultipartUploads(t.Context(), s.config.Bucket, "", "", "", "", 100)
	if err != nil || len(r.Uploads) != 0 {
		t.Errorf("%d incomplete uploads are left: %v", len(r.Uploads), err)
	}
}

// cancelling is a source that ends the context in the middle of the sending:
// its third pass over the middle, the first two being checksums of two parts.
type cancelling struct {
	*bytes.Reader
	cancel func()
	mu     sync.Mutex
	read   int64
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	if c.read += int64(len(p)); c.read > 80<<20 {
		c.cancel()
	}
	c.mu.Unlock()
	return c.Reader.ReadAt(p, off)
}

func BenchmarkPut(b *testing.B) {
	for _, at := range []int{1, 4} {
		b.Run(fmt.Sprintf("%d at once", at), func(b *testing.B) {
			s, data := benchmark(b)
			b.SetBytes(int64(at * len(data)))
			for b.Loop() {
				var wg sync.WaitGroup
				for i := range at {
					wg.Go(func() {
						if err := s.Put(b.Context(), fmt.Sprint("blob", i), int64(len(data)), bytes.NewReader(data)); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s, data := benchmark(b)
	if err := s.Put(b.Context(), "blob", int64(len(data)), bytes.NewReader(data)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if got, err := blobtest.Read(b.Context(), s, "blob"); err != nil || len(got) != len(data) {
			b.Fatal(len(got), err)
		}
	}
}

func benchmark(b *testing.B) (*Store, []byte) {
	server := s3test.Start(b)
	server.Setenv(b)
	data := make([]byte, 16<<20)
	_, _ = rand.Read(data) // never fails
	return open(b, server.Location(b, "")), data
}
