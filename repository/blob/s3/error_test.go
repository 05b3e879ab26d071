package s3

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
)

func TestOpenErrors(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	bucket := server.Bucket(t)
	wantOpen(t, s3test.At(server.Endpoint, "no-such-bucket", ""), `there is no bucket "no-such-bucket"`)
	wantOpen(t, s3test.At(server.Endpoint, "no-such-bucket", "")+"&region=us-east-1", `there is no bucket "no-such-bucket"`)
	wantOpen(t, s3test.At(server.Endpoint, bucket, "")+"&region=moon-1", "region")
	wantOpen(t, s3test.At("https://"+server.Endpoint[len("http://"):], bucket, ""), "does not speak TLS")
	wantOpen(t, s3test.At("http://"+unused(t), bucket, ""), "cannot be reached")
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	wantOpen(t, s3test.At(web.URL, bucket, ""), "if that is an S3 server at all")
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><body><p>Welcome!</body></html>")
	}))
	t.Cleanup(page.Close)
	wantOpen(t, s3test.At(page.URL, bucket, ""), "no S3 server")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	wantOpen(t, s3test.At(server.Endpoint, bucket, ""), "correct the secret key")
}

func TestUnknownHost(t *testing.T) {
	c, err := Parse("s3://bucket?endpoint=http://nowhere")
	if err != nil {
		t.Fatal(err)
	}
	dns := &net.DNSError{Err: "no such host", Name: "nowhere", IsNotFound: true}
	err = &url.Error{Op: "Get", URL: "http://nowhere/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: dns}}
	if transient(err) {
		t.Error("a host that does not exist is looked for again")
	}
	if got := (&Store{config: c}).explain(err); !strings.Contains(got.Error(), "nobody knows the host of http://nowhere") {
		t.Errorf("explain = %v", got)
	}
}

// unused is an address where nobody listens.
func unused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestTLS(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	front := httptest.NewUnstartedServer(proxyTo(t, server))
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that refuse it
	front.StartTLS()
	t.Cleanup(front.Close)
	location := s3test.At(front.URL, server.Bucket(t), "")
	wantOpen(t, location, "name its authority with ?ca=FILE")
	wantOpen(t, s3test.At("http://"+front.Listener.Addr().String(), "bucket", ""), "speaks TLS only")

	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"&ca=" + file, "&insecure=true"} {
		s := open(t, location+option)
		s.partSize = 5 << 20
		put(t, s, "a", noise(12<<20))
		wantBlob(t, s, "a", noise(12<<20))
	}
	wantOpen(t, location+"&ca=/missing", "ca: ")
	wantOpen(t, strings.Replace(location, "127.0.0.1", "localhost", 1)+"&ca="+file, "is for another name")
	if front.TLS.MinVersion > tls.VersionTLS12 {
		t.Error("the test's server is stricter than the store")
	}
}

// TestReadOnly has credentials that may only read.
func TestReadOnly(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	bucket := server.Bucket(t)
	writer := open(t, s3test.At(server.Endpoint, bucket, "p"))
	put(t, writer, "a", noise(1000))
	endpoint := front(t, server, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				answer(w, http.StatusForbidden, "AccessDenied")
				return
			}
			pass.ServeHTTP(w, r)
		})
	})
	s := open(t, s3test.At(endpoint, bucket, "p"))
	wantBlob(t, s, "a", noise(1000))
	for what, err := range map[string]error{
		"Put": s.Put(t.Context(), "b", 1, strings.NewReader("x")), "Create": s.Create(t.Context(), "b", nil), "Delete": s.Delete(t.Context(), "a"),
	} {
		if err == nil || !strings.Contains(err.Error(), "s3:GetObject, PutObject, DeleteObject on "+bucket+"/p/*") {
			t.Errorf("%s with credentials to read: %v", what, err)
		}
	}
}

// TestAnswers has a server that answers everything after Open with one error.
func TestAnswers(t *testing.T) {
	(&s3test.Server{AccessKey: "key", SecretKey: "secret"}).Setenv(t)
	for code, c := range map[string]struct {
		status int
		is     error
		want   string
	}{
		"QuotaExceeded":        {http.StatusForbidden, blob.ErrFull, "prune"},
		"XMinioStorageFull":    {http.StatusInsufficientStorage, blob.ErrFull, "prune"},
		"SomethingFull":        {http.StatusInsufficientStorage, blob.ErrFull, "add storage"},
		"RequestTimeTooSkewed": {http.StatusForbidden, nil, "clock"},
		"PermanentRedirect":    {http.StatusMovedPermanently, nil, "?region="},
		"AccessDenied":         {http.StatusForbidden, nil, "access denied"},
		"NoSuchBucket":         {http.StatusNotFound, nil, "create it"},
	} {
		good := &fake{honours: true, objects: map[string]bool{}}
		opened := false
		f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !opened {
				good.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // a broken request gets no answer anyway
			answer(w, c.status, code)
		}))
		t.Cleanup(f.Close)
		s := open(t, s3test.At(f.URL, "bucket", "")+"&region=us-east-1")
		opened = true
		err := s.Put(t.Context(), "a", 1, strings.NewReader("x"))
		if err == nil || !strings.Contains(err.Error(), c.want) || (c.is != nil && !errors.Is(err, c.is)) {
			t.Errorf("%s: %v\nwanted it to say %q", code, err, c.want)
		}
		if errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s is taken for a missing blob", code)
		}
	}
}

// TestUnordered has a server whose listing is of no use.
func TestUnordered(t *testing.T) {
	(&s3test.Server{AccessKey: "key", SecretKey: "secret"}).Setenv(t)
	good := &fake{honours: true, objects: map[string]bool{}}
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			good.ServeHTTP(w, r)
			return
		}
		_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>b</Key></Contents><Contents><Key>a</Key></Contents></ListBucketResult>")
	}))
	t.Cleanup(f.Close)
	s := open(t, s3test.At(f.URL, "bucket", "")+"&region=us-east-1")
	if _, err := blobtest.Names(t.Context(), s, ""); !errors.Is(err, errUnordered) {
		t.Errorf("a listing out of order: %v", err)
	}
}
