// Package location turns what a user writes for a repository into the store
// that keeps it, so that nobody else has to know the backends.
package location

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/dir"
	"github.com/snapline/snapline/repository/blob/s3"
)

const forms = "a repository is a directory (/srv/snapline, file:///srv/snapline) or a bucket (s3://BUCKET/PREFIX?endpoint=https://HOST:PORT)"

// Open opens the store at a location: a path, file:///path, or s3://… as in
// s3.Config. A directory must exist. Errors hold no secrets. The store may keep
// connections: let go of it with blob.Close.
func Open(ctx context.Context, location string) (blob.Store, error) {
	return open(ctx, location, dir.Open)
}

// Create is Open that makes a missing directory. Buckets are for their owner to
// make.
func Create(ctx context.Context, location string) (blob.Store, error) {
	return open(ctx, location, dir.Create)
}

func open(ctx context.Context, location string, directory func(string) (*dir.Store, error)) (blob.Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := parse(location)
	if err != nil {
		return nil, err
	}
	// Not "return directory(…)": a nil *dir.Store is no nil blob.Store.
	if p.path != "" {
		s, err := directory(p.path)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	s, err := s3.Open(ctx, p.bucket)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Check reports what is wrong with a location as it is written. It opens
// nothing.
func Check(location string) error {
	_, err := parse(location)
	return err
}

// Remote reports whether a location, which has to be a good one, is reached over
// the network by us: not a directory, whatever that is mounted from.
func Remote(location string) bool {
	p, err := parse(location)
	return err == nil && p.path == ""
}

// Redact is the location in one spelling and without secrets, for messages and
// logs. Of what cannot be understood it shows the scheme at the most.
func Redact(location string) string {
	p, err := parse(location)
	switch {
	case err != nil:
		if scheme, _, ok := split(location); ok {
			return scheme + "://…"
		}
		return "…"
	case p.path != "":
		return p.path
	}
	return p.bucket.String()
}

// parsed is either a path or a bucket.
type parsed struct {
	path   string // absolute and clean
	bucket s3.Config
}

func parse(location string) (parsed, error) {
	scheme, rest, ok := split(location)
	switch {
	case location == "":
		return parsed{}, errors.New("no repository is named; " + forms)
	case strings.ContainsRune(location, 0):
		return parsed{}, errors.New("the repository's name has a zero byte in it; " + forms)
	case !ok && isSchemeTypo(location):
		return parsed{}, fmt.Errorf("the repository's name begins with %q but not with %q; %s (write ./%s… for a directory of that name)",
			location[:strings.IndexByte(location, ':')+1], location[:strings.IndexByte(location, ':')+1]+"//", forms, location[:3])
	case !ok:
		path, err := filepath.Abs(location)
		return parsed{path: path}, err
	case scheme == "file":
		path, err := filePath(rest)
		return parsed{path: path}, err
	case scheme == "s3":
		c, err := s3.Parse("s3://" + rest)
		return parsed{bucket: c}, err
	}
	return parsed{}, fmt.Errorf("unknown kind of repository %q; %s", scheme+"://", forms)
}

// split cuts "scheme://rest" (RFC 3986 section 3.1). A path may have a "://"
// further on.
func split(location string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(location, "://")
	if !ok || scheme == "" || len(scheme) > 20 {
		return "", "", false
	}
	scheme = strings.ToLower(scheme)
	for i := range len(scheme) {
		c := scheme[i]
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return "", "", false
		}
	}
	return scheme, rest, true
}

// isSchemeTypo finds s3:bucket, as some programs want it, and file:path.
func isSchemeTypo(location string) bool {
	l := strings.ToLower(location)
	return strings.HasPrefix(l, "s3:") || strings.HasPrefix(l, "file:")
}

// filePath reads what follows "file://" (RFC 8089): no host, or this one.
func filePath(rest string) (string, error) {
	u, err := url.Parse("file://" + rest)
	if err != nil || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", errors.New("a file URL has the form file:///path, with %20 for a space, %3F for '?', %23 for '#', %25 for '%'")
	}
	if (u.Host != "" && u.Host != "localhost") || !filepath.IsAbs(u.Path) {
		return "", errors.New("a file URL has three slashes and an absolute path, as in file:///srv/snapline")
	}
	if strings.ContainsRune(u.Path, 0) {
		return "", errors.New("the file URL has a zero byte in it")
	}
	return filepath.Clean(u.Path), nil
}
