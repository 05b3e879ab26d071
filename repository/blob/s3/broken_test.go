package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
)

func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
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
	got, err := blobtest.Read(t.Context(), s, name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes that are not the %d written: %v", name, len(got), len(want), err)
	}
}

// TestUploadSurvives has each connection reset after 11 MiB, in the first or
// second part that it carries.
func TestUploadSurvives(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	proxy := server.Proxy(t)
	s := open(t, s3test.At(proxy.Endpoint, server.Bucket(t), "x"))
	s.partSize = 6 << 20
	data := noise(50<<20 + 1)
	proxy.BreakUpload(11 << 20)
	put(t, s, "parts", data)
	put(t, s, "plain", data[:10<<20]) // in one request
	if err := s.Put(t.Context(), "serial", int64(len(data)), struct{ io.ReadSeeker }{bytes.NewReader(data)}); err != nil {
		t.Error(err)
	}
	proxy.BreakUpload(-1)
	if n := proxy.Breaks(); n < 8 {
		t.Errorf("only %d connections broke; the test shows nothing", n)
	}
	wantBlob(t, s, "parts", data)
	wantBlob(t, s, "plain", data[:10<<20])
	wantBlob(t, s, "serial", data)
	wantNoUploads(t, s)
}

// TestServerAway restarts the way to the server under way.
func TestServerAway(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	proxy := server.Proxy(t)
	s := open(t, s3test.At(proxy.Endpoint, server.Bucket(t), ""))
	s.partSize = 5 << 20
	data := noise(30 << 20)
	r := &away{Reader: bytes.NewReader(data), proxy: proxy, at: 45 << 20} // 30 of it are checksums
	if err := s.Put(t.Context(), "a", int64(len(data)), r); err != nil {
		t.Fatal(err)
	}
	r.back.Wait()
	wantBlob(t, s, "a", data)
}

// away takes the server away while it is read, and brings it back later.
type away struct {
	*bytes.Reader
	proxy *s3test.Proxy
	at    int64
	read  atomic.Int64
	once  sync.Once
	back  sync.WaitGroup
}

func (a *away) ReadAt(p []byte, off int64) (int, error) {
	if a.read.Add(int64(len(p))) > a.at {
		a.once.Do(func() {
			a.proxy.Away(true)
			a.back.Go(func() {
				<-time.After(500 * time.Millisecond)
				a.proxy.Away(false)
			})
		})
	}
	return a.Reader.ReadAt(p, off)
}

func TestDownloadSurvives(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	proxy := server.Proxy(t)
	s := open(t, s3test.At(proxy.Endpoint, server.Bucket(t), ""))
	data := noise(20 << 20)
	put(t, s, "a", data)
	proxy.BreakDownload(3 << 20)
	wantBlob(t, s, "a", data)
	r, err := s.Get(t.Context(), "a", 1000, 15<<20)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data[1000:1000+15<<20]) {
		t.Errorf("a range came as %d bytes: %v", len(got), err)
	}
	if n := proxy.Breaks(); n < 8 {
		t.Errorf("only %d connections broke", n)
	}
}

// TestReplacedWhileRead must not mix two versions of a blob.
func TestReplacedWhileRead(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	proxy := server.Proxy(t)
	bucket := server.Bucket(t)
	s := open(t, s3test.At(proxy.Endpoint, bucket, ""))
	direct := open(t, s3test.At(server.Endpoint, bucket, ""))
	put(t, s, "a", noise(20<<20))
	proxy.BreakDownload(3 << 20)
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	put(t, direct, "a", make([]byte, 20<<20))
	_, err = io.Copy(io.Discard, r)
	if err == nil || !strings.Contains(err.Error(), "replaced while it was being read") {
		t.Errorf("reading on after it was replaced: %v", err)
	}
	_ = r.Close()
}

// front is an HTTP proxy whose handler may spoil what passes.
func front(t *testing.T, server *s3test.Server, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	f := httptest.NewServer(wrap(proxyTo(t, server)))
	t.Cleanup(f.Close)
	return f.URL
}

func proxyTo(t *testing.T, server *s3test.Server) http.Handler {
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }, // the signature covers it
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// TestCreateAnswerLost has the server do its work and the answer never arrive.
// The writer must neither give up nor take its own blob for somebody else's.
func TestCreateAnswerLost(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	var lose atomic.Bool
	endpoint := front(t, server, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && lose.CompareAndSwap(true, false) {
				pass.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler) // closes the connection
			}
			pass.ServeHTTP(w, r)
		})
	})
	s := open(t, s3test.At(endpoint, server.Bucket(t), ""))
	lose.Store(true)
	if err := s.Create(t.Context(), "a", []byte("mine")); err != nil {
		t.Errorf("Create whose answer was lost: %v", err)
	}
	lose.Store(true)
	if err := s.Create(t.Context(), "a", []byte("mine")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("Create of what another has created, its answer lost: %v", err)
	}
	lose.Store(true)
	put(t, s, "b", noise(1000))
	wantBlob(t, s, "b", noise(1000))
}

// TestDamagedOnTheWay flips a bit of the first body that passes.
func TestDamagedOnTheWay(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	var damage atomic.Bool
	endpoint := front(t, server, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && damage.CompareAndSwap(true, false) {
				r.Body = io.NopCloser(&flipping{r: r.Body, at: 5000})
			}
			pass.ServeHTTP(w, r)
		})
	})
	s := open(t, s3test.At(endpoint, server.Bucket(t), ""))
	s.partSize = 5 << 20
	for _, n := range []int{100_000, 12 << 20} {
		damage.Store(true)
		err := s.Put(t.Context(), "a", int64(n), bytes.NewReader(noise(n)))
		if damage.Load() {
			t.Error("no body passed")
		}
		if err != nil {
			t.Logf("refused: %v", err) // it must not be taken, at the least
			if names, err := blobtest.Names(t.Context(), s, ""); err != nil || len(names) != 0 {
				t.Errorf("a damaged upload left %q: %v", names, err)
			}
			continue
		}
		wantBlob(t, s, "a", noise(n))
	}
}

type flipping struct {
	r  io.Reader
	at int
}

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.at >= 0 && f.at < n {
		p[f.at] ^= 1
	}
	f.at -= n
	return n, err
}

// TestProbe has servers that do not keep the promise that Create needs.
func TestProbe(t *testing.T) {
	(&s3test.Server{AccessKey: "key", SecretKey: "secret"}).Setenv(t)
	for what, c := range map[string]struct {
		fake *fake
		want string
	}{
		"ignores":         {&fake{}, "a second writer was not refused"},
		"refuses":         {&fake{notImplemented: true}, "not implemented"},
		"looks first":     {&fake{slow: true, honours: true}, "writers at once"},
		"is as it should": {&fake{honours: true}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			c.fake.objects, c.fake.meeting = map[string]bool{}, map[string]chan struct{}{}
			f := httptest.NewServer(c.fake)
			t.Cleanup(f.Close)
			location := s3test.At(f.URL, "bucket", "") + "&region=us-east-1"
			if c.want == "" {
				open(t, location)
				open(t, location)
				return
			}
			for range 2 { // the second time there is the mark of the first
				wantOpen(t, location, c.want)
			}
		})
	}
}

// fake is a server with a poor idea of "If-None-Match: *".
type fake struct {
	honours, notImplemented bool
	slow                    bool // looks, and writes a while later

	mu      sync.Mutex
	objects map[string]bool
	meeting map[string]chan struct{}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a broken request gets no answer anyway
	switch {
	case r.Method == http.MethodDelete:
		f.mu.Lock()
		delete(f.objects, r.URL.Path)
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPut:
		answer(w, http.StatusNotFound, "NoSuchKey")
	case f.notImplemented && r.Header.Get("If-None-Match") != "":
		answer(w, http.StatusNotImplemented, "NotImplemented")
	case f.exists(r.URL.Path) && f.honours:
		answer(w, http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		if f.slow && strings.Contains(r.URL.Path, markName+"-") {
			f.meet(r.URL.Path)
		}
		f.mu.Lock()
		f.objects[r.URL.Path] = true
		f.mu.Unlock()
		w.Header().Set("ETag", `"x"`)
	}
}

func (f *fake) exists(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[path]
}

// meet holds the first writer of an object until a second one has looked too.
func (f *fake) meet(path string) {
	f.mu.Lock()
	first := f.meeting[path] == nil
	if first {
		f.meeting[path] = make(chan struct{}, 100)
	}
	c := f.meeting[path]
	f.mu.Unlock()
	if first {
		<-c
	} else {
		c <- struct{}{}
	}
}

func answer(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message><RequestId>1</RequestId></Error>", code, code)
}
