package location

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	server := s3test.Start(t)
	server.Setenv(t)
	root := t.TempDir()
	for _, location := range []string{root, "file://" + root, "file://localhost" + root, server.Location(t, "p"), "S3" + server.Location(t, "")[2:]} {
		s, err := Open(t.Context(), location)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := s.Create(t.Context(), "a", []byte(location)); err != nil && !errors.Is(err, blob.ErrExists) {
			t.Error(err)
		}
		if _, err := blobtest.Read(t.Context(), s, "a"); err != nil {
			t.Error(err)
		}
		if s.String() != Redact(location) {
			t.Errorf("%s calls itself %s", Redact(location), s)
		}
		if err := blob.Close(blob.Limit(s, 1<<20)); err != nil {
			t.Error(err)
		}
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	if s, err := Open(t.Context(), path); !errors.Is(err, fs.ErrNotExist) || s != nil {
		t.Errorf("Open of a missing directory = %v, %v", s, err)
	}
	if _, err := Create(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a cancelled context: %v", err)
	}
}

func TestRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"repo": "/repo", "./repo/": "/repo", ".": "", "a:b": "/a:b", "./s3:b": "/s3:b", "x y": "/x y", "dir/http://x": "/dir/http:/x", "repo?x=y": "/repo?x=y",
	} {
		if got := Redact(in); got != here+want {
			t.Errorf("%s is %s, not %s", in, got, here+want)
		}
	}
}

func TestRefused(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "no repository is named",
		"sftp://host/x":            `unknown kind of repository "sftp://"`,
		"https://s3.host/bucket":   `unknown kind of repository "https://"`,
		"s3:bucket/x":              `"s3://"`,
		"file:/x":                  `"file://"`,
		"file://x/y":               "three slashes",
		"file://":                  "three slashes",
		"file:///a?b":              "%3F",
		"s3://":                    "bucket",
		"s3://bucket?endpoint=foo": "endpoint",
		"a\x00b":                   "zero byte",
		"file:///a%00b":            "zero byte",
	} {
		err := Check(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%q): %v\nwanted it to say %q", in, err, want)
		}
		if _, openErr := Open(t.Context(), in); openErr == nil || openErr.Error() != err.Error() {
			t.Errorf("Open(%q): %v", in, openErr)
		}
	}
}

func TestRemote(t *testing.T) {
	for in, want := range map[string]bool{"/srv/repo": false, "repo": false, "file:///srv/repo": false, "s3://bucket/p?endpoint=https://s3.host": true} {
		if Remote(in) != want {
			t.Errorf("Remote(%s) = %v", in, !want)
		}
	}
}

func TestRedact(t *testing.T) {
	for _, in := range []string{
		"s3://KEY:hunter2@bucket/p", "s3://bucket?secret=hunter2", "s3://bucket?endpoint=https://u:hunter2@host", "sftp://u:hunter2@host/", "s3:hunter2", "file://u:hunter2@/x",
	} {
		if got := Redact(in); strings.Contains(got, "hunter2") {
			t.Errorf("Redact(%s) = %s", in, got)
		}
		if err := Check(in); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Check(%s): %v", in, err)
		}
	}
	const nice = "s3://bucket/p?endpoint=https://host:9000&region=eu"
	if got := Redact(nice); got != nice {
		t.Errorf("Redact(%s) = %s", nice, got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/srv/x", "file:///srv/x%20y", "s3://bucket/p?endpoint=https://host:9000", "s3:b", "a://b", "://", "file://localhost/%2e%2e/x", "s3://u:p@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := parse(in)
		if err != nil {
			if strings.Contains(Redact(in), "@") {
				t.Errorf("Redact(%q) = %q", in, Redact(in))
			}
			return
		}
		if p.path != "" && (!filepath.IsAbs(p.path) || filepath.Clean(p.path) != p.path) {
			t.Errorf("%q is the path %q", in, p.path)
		}
		if again := Redact(Redact(in)); again != Redact(in) {
			t.Errorf("%q is %q, and that is %q", in, Redact(in), again)
		}
	})
}
