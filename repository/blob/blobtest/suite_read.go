package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline/repository/blob"
)

func testEmpty(t *testing.T, s blob.Store) {
	wantNames(t, s, "")
	wantNames(t, s, "packs/")
	_, err := s.Get(t.Context(), "a/b", 0, -1)
	wantErr(t, "Get of nothing", err, blob.ErrNotFound)
	_, err = s.Get(t.Context(), "a/b", 10, 0)
	wantErr(t, "Get of no bytes of nothing", err, blob.ErrNotFound)
	_, err = s.Size(t.Context(), "a/b")
	wantErr(t, "Size of nothing", err, blob.ErrNotFound)
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if s.String() == "" {
		t.Error("String is empty")
	}
}

func testRanges(t *testing.T, s blob.Store) {
	data := noise(1, 1000)
	put(t, s, "a", data)
	put(t, s, "nothing", nil)
	for _, c := range []struct {
		name   string
		off, n int64
		want   []byte
		err    error
	}{
		{"a", 0, -1, data, nil},
		{"a", 0, 1000, data, nil},
		{"a", 0, 1, data[:1], nil},
		{"a", 0, 0, nil, nil},
		{"a", 500, 0, nil, nil},
		{"a", 500, 250, data[500:750], nil},
		{"a", 999, 1, data[999:], nil},
		{"a", 999, -1, data[999:], nil},
		{"a", 1000, -1, nil, nil},
		{"a", 1000, 0, nil, nil},
		{"a", 1000, 1, nil, blob.ErrShort},
		{"a", 1001, 0, nil, blob.ErrShort},
		{"a", 1001, -1, nil, blob.ErrShort},
		{"a", 999, 2, nil, blob.ErrShort},
		{"a", 0, 1001, nil, blob.ErrShort},
		{"a", 1, 1<<63 - 1, nil, blob.ErrShort},
		{"nothing", 0, -1, nil, nil},
		{"nothing", 0, 0, nil, nil},
		{"nothing", 0, 1, nil, blob.ErrShort},
		{"nothing", 1, -1, nil, blob.ErrShort},
		{"missing", 0, 1, nil, blob.ErrNotFound},
		{"missing", 5, -1, nil, blob.ErrNotFound},
	} {
		what := fmt.Sprintf("Get(%s, %d, %d)", c.name, c.off, c.n)
		r, err := s.Get(t.Context(), c.name, c.off, c.n)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", what, err, c.err)
		}
		if err != nil {
			continue
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Equal(got, c.want) {
			t.Errorf("%s = %d bytes, not the %d wanted", what, len(got), len(c.want))
		}
	}
	if _, err := s.Get(t.Context(), "a", -1, 1); err == nil {
		t.Error("Get from offset -1 gave no error")
	}
	// Not reading to the end is nobody's fault.
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func testNames(t *testing.T, s blob.Store) {
	good := []string{"a", "A.z_9-", ".hidden", "..a", "a../b", "d/b/c/d/e/f", strings.Repeat("x", blob.MaxPart)}
	for _, name := range good {
		put(t, s, name, []byte(name))
	}
	slices.Sort(good)
	wantNames(t, s, "", good...)
	for _, name := range []string{
		"", "/", ".", "..", "../a", "a/../b", "a/..", "./a", "a/.", "/a", "a/", "a//b", "~tmp/a", "a b", "a\x00b", "a\\b", "ä", "a\nb", "%2e%2e/a",
		strings.Repeat("x", blob.MaxPart+1), strings.Repeat("x/", blob.MaxName/2) + "x",
	} {
		ctx := t.Context()
		_, getErr := s.Get(ctx, name, 0, -1)
		_, sizeErr := s.Size(ctx, name)
		for what, err := range map[string]error{
			"Put": s.Put(ctx, name, 1, strings.NewReader("x")), "Create": s.Create(ctx, name, nil),
			"Get": getErr, "Size": sizeErr, "Delete": s.Delete(ctx, name),
		} {
			if err == nil || errors.Is(err, blob.ErrNotFound) {
				t.Errorf("%s(%q): %v, want a refusal", what, name, err)
			}
		}
	}
	for _, prefix := range []string{"../", "a/../", "/", "~", "a//"} {
		if _, err := Names(t.Context(), s, prefix); err == nil {
			t.Errorf("List(%q) gave no error", prefix)
		}
	}
	wantNames(t, s, "", good...)
}

func testList(t *testing.T, s blob.Store) {
	for _, name := range []string{"packs/ab/1", "packs/ab/2", "packs/ac/1", "pack", "config", "index/1"} {
		put(t, s, name, []byte(name))
	}
	wantNames(t, s, "", "config", "index/1", "pack", "packs/ab/1", "packs/ab/2", "packs/ac/1")
	wantNames(t, s, "pack", "pack", "packs/ab/1", "packs/ab/2", "packs/ac/1")
	wantNames(t, s, "packs/", "packs/ab/1", "packs/ab/2", "packs/ac/1")
	wantNames(t, s, "packs/a", "packs/ab/1", "packs/ab/2", "packs/ac/1")
	wantNames(t, s, "packs/ab", "packs/ab/1", "packs/ab/2")
	wantNames(t, s, "packs/ab/", "packs/ab/1", "packs/ab/2")
	wantNames(t, s, "packs/ab/1", "packs/ab/1")
	wantNames(t, s, "packs/ab/1/")
	wantNames(t, s, "packs/ad")
	wantNames(t, s, "config/")
	wantNames(t, s, "z/y/x")
	err := s.List(t.Context(), "", func(name string, size int64) error {
		if size != int64(len(name)) {
			t.Errorf("List says that %s has %d bytes, not %d", name, size, len(name))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// testListOrder has what sorts differently as files of folders: '-' and '.'
// come before '/', digits and letters after it.
func testListOrder(t *testing.T, s blob.Store) {
	names := []string{"a/b", "a-b", "a.b", "a0", "a_", "aa/b", "aB", "a/-", "a/b-/c", "a/b-c", "B", "b", "0/z", "0-"}
	for _, name := range names {
		if name == "a/b" {
			continue // a folder as well, on a file system
		}
		put(t, s, name, nil)
	}
	names = names[1:]
	slices.Sort(names)
	wantNames(t, s, "", names...)
	under := slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "a") })
	wantNames(t, s, "a", under...)
}

func testListStops(t *testing.T, s blob.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("x/%d", i), nil)
	}
	stop, calls := errors.New("enough"), 0
	err := s.List(t.Context(), "", func(string, int64) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	})
	wantErr(t, "List", err, stop)
	if calls != 3 {
		t.Errorf("List made %d calls, not 3", calls)
	}
}

func testDelete(t *testing.T, s blob.Store) {
	put(t, s, "a/b", noise(1, 10))
	put(t, s, "a/c", noise(2, 10))
	for range 2 {
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Error(err)
		}
	}
	_, err := s.Get(t.Context(), "a/b", 0, -1)
	wantErr(t, "Get after Delete", err, blob.ErrNotFound)
	wantNames(t, s, "", "a/c")
	if err := s.Delete(t.Context(), "a"); err != nil { // no blob, but maybe a folder
		t.Error(err)
	}
	wantBlob(t, s, "a/c", noise(2, 10))
}

func testDeleteListed(t *testing.T, s blob.Store) {
	for i := range 20 {
		put(t, s, fmt.Sprintf("%d/%02d", i%3, i), nil)
	}
	err := s.List(t.Context(), "", func(name string, _ int64) error { return s.Delete(t.Context(), name) })
	if err != nil {
		t.Error(err)
	}
	wantNames(t, s, "")
}

func testContext(t *testing.T, s blob.Store) {
	put(t, s, "a", noise(1, 300_000))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Get(ctx, "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	// What is buffered may still come, but the call must not hang.
	_, _ = io.Copy(io.Discard, r)
	if err := r.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, getErr := s.Get(ctx, "a", 0, -1)
	_, sizeErr := s.Size(ctx, "a")
	_, freeErr := s.Free(ctx)
	for what, err := range map[string]error{
		"Put": s.Put(ctx, "b", 1, strings.NewReader("x")), "Create": s.Create(ctx, "c", nil), "Get": getErr, "Size": sizeErr,
		"List": s.List(ctx, "", func(string, int64) error { return nil }), "Delete": s.Delete(ctx, "a"), "Free": freeErr,
	} {
		wantErr(t, what+" with a cancelled context", err, context.Canceled)
	}
	wantNames(t, s, "", "a")
}

func testFree(t *testing.T, s blob.Store) {
	if n, err := s.Free(t.Context()); err != nil || n < -1 {
		t.Errorf("Free = %d, %v", n, err)
	}
}

// testRate holds the store against Limit, which must be felt whether or not the
// source can be read in parallel.
func testRate(t *testing.T, s blob.Store) {
	const size, rate = 2 << 20, 8 << 20
	data := noise(5, size)
	for name, r := range map[string]io.ReadSeeker{"a": bytes.NewReader(data), "b": struct{ io.ReadSeeker }{bytes.NewReader(data)}} {
		start := time.Now()
		if err := blob.Limit(s, rate).Put(t.Context(), name, size, r); err != nil {
			t.Fatal(err)
		}
		// A sixteenth of a second's worth may go at once.
		if took, least := time.Since(start), 180*time.Millisecond; took < least {
			t.Errorf("%d bytes at %d per second took %v, less than %v", size, rate, took, least)
		}
		wantBlob(t, s, name, data)
	}
}
