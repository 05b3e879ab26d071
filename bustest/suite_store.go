package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/snapline/snapline"
)

// TestStore checks what snapline.Store promises. open returns an empty Store;
// its t.Cleanup closes it.
func TestStore(t *testing.T, open func(t *testing.T) snapline.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s snapline.Store)
	}{
		{"no value", testNoValue},
		{"put and get", testPutGet},
		{"value is a copy", testValueCopied},
		{"swap creates once", testSwapCreates},
		{"swap over a revision", testSwapRevision},
		{"delete", testDelete},
		{"keys", testKeys},
		{"counting together", testCount},
		{"bad keys are refused", testBadKeys},
		{"ended context", testStoreContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s snapline.Store, key, value string) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
}

func get(t *testing.T, s snapline.Store, key string) (string, uint64) {
	t.Helper()
	v, rev, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%s): %v", key, err)
	}
	if rev == 0 {
		t.Fatalf("Get(%s): revision 0 means no value", key)
	}
	return string(v), rev
}

func testNoValue(t *testing.T, s snapline.Store) {
	if _, _, err := s.Get(t.Context(), "group.etcd"); !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	if keys, err := s.Keys(t.Context(), ""); err != nil || len(keys) != 0 {
		t.Errorf("Keys = %q, %v", keys, err)
	}
	if _, err := s.Swap(t.Context(), "group.etcd", nil, 7); !errors.Is(err, snapline.ErrConflict) {
		t.Errorf("Swap over a revision that never was = %v, want ErrConflict", err)
	}
}

func testPutGet(t *testing.T, s snapline.Store) {
	var last uint64
	for _, want := range []string{"one", "", "\x00\xff{}\n", "one"} {
		put(t, s, "group.etcd", want)
		got, rev := get(t, s, "group.etcd")
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if rev <= last {
			t.Errorf("revision %d after %d", rev, last)
		}
		last = rev
	}
}

func testValueCopied(t *testing.T, s snapline.Store) {
	v := []byte("before")
	if err := s.Put(t.Context(), "k", v); err != nil {
		t.Fatal(err)
	}
	copy(v, "after!")
	got, _, err := s.Get(t.Context(), "k")
	if err != nil || string(got) != "before" {
		t.Fatalf("got %q, %v", got, err)
	}
	copy(got, "after!")
	if again, _ := get(t, s, "k"); again != "before" {
		t.Fatalf("got %q: the reader's buffer is shared", again)
	}
}

func testSwapCreates(t *testing.T, s snapline.Store) {
	rev, err := s.Swap(t.Context(), "k", []byte("first"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if v, r := get(t, s, "k"); v != "first" || r != rev {
		t.Errorf("got %q at %d, want first at %d", v, r, rev)
	}
	if _, err := s.Swap(t.Context(), "k", []byte("second"), 0); !errors.Is(err, snapline.ErrConflict) {
		t.Errorf("second Swap = %v, want ErrConflict", err)
	}
	if v, _ := get(t, s, "k"); v != "first" {
		t.Errorf("got %q after the refused Swap", v)
	}
}

func testSwapRevision(t *testing.T, s snapline.Store) {
	put(t, s, "other", "x")
	put(t, s, "k", "1")
	_, rev := get(t, s, "k")
	put(t, s, "other", "y") // another key's writes are no conflict
	next, err := s.Swap(t.Context(), "k", []byte("2"), rev)
	if err != nil || next <= rev {
		t.Fatalf("Swap = %d, %v after %d", next, err, rev)
	}
	if _, err := s.Swap(t.Context(), "k", []byte("3"), rev); !errors.Is(err, snapline.ErrConflict) {
		t.Errorf("Swap over an old revision = %v, want ErrConflict", err)
	}
	if v, r := get(t, s, "k"); v != "2" || r != next {
		t.Errorf("got %q at %d, want 2 at %d", v, r, next)
	}
	if _, err := s.Swap(t.Context(), "k", []byte("4"), next); err != nil {
		t.Errorf("Swap over the revision that Swap returned: %v", err)
	}
}

func testDelete(t *testing.T, s snapline.Store) {
	put(t, s, "k", "1")
	_, rev := get(t, s, "k")
	for range 2 { // the second time there is nothing
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Get(t.Context(), "k"); !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	if _, err := s.Swap(t.Context(), "k", []byte("2"), rev); !errors.Is(err, snapline.ErrConflict) {
		t.Errorf("Swap over the deleted revision = %v, want ErrConflict", err)
	}
	next, err := s.Swap(t.Context(), "k", []byte("2"), 0)
	if err != nil || next <= rev {
		t.Errorf("Swap = %d, %v: a revision after %d expected", next, err, rev)
	}
	if v, _ := get(t, s, "k"); v != "2" {
		t.Errorf("got %q", v)
	}
}

func testKeys(t *testing.T, s snapline.Store) {
	for _, k := range []string{"round.b", "group.etcd", "group.bank", "groups", "group.bank.place", "x"} {
		put(t, s, k, "v")
	}
	put(t, s, "group.gone", "v")
	put(t, s, "group.bank", "again")
	if err := s.Delete(t.Context(), "group.gone"); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string][]string{
		"":            {"group.bank", "group.bank.place", "group.etcd", "groups", "round.b", "x"},
		"group.":      {"group.bank", "group.bank.place", "group.etcd"},
		"group":       {"group.bank", "group.bank.place", "group.etcd", "groups"},
		"group.b":     {"group.bank", "group.bank.place"},
		"group.bank.": {"group.bank.place"},
		"nothing.":    nil,
		"*":           nil,
	} {
		got, err := s.Keys(t.Context(), prefix)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Keys(%q) = %q, %v; want %q", prefix, got, err, want)
		}
	}
}

// testCount has several writers increment one number by Swap: no increment may
// be lost.
func testCount(t *testing.T, s snapline.Store) {
	const writers, each = 4, 25
	put(t, s, "n", "0")
	results := make(chan error, writers)
	for range writers {
		go func() { results <- count(t.Context(), s, each) }()
	}
	for range writers {
		if err := next(t, results); err != nil {
			t.Error(err)
		}
	}
	if v, _ := get(t, s, "n"); v != strconv.Itoa(writers*each) {
		t.Errorf("counted to %s, want %d", v, writers*each)
	}
}

func count(ctx context.Context, s snapline.Store, times int) error {
	for done := 0; done < times; {
		v, rev, err := s.Get(ctx, "n")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(v))
		if err != nil {
			return err
		}
		switch _, err := s.Swap(ctx, "n", fmt.Append(nil, n+1), rev); {
		case err == nil:
			done++
		case !errors.Is(err, snapline.ErrConflict):
			return err
		}
	}
	return nil
}

func testBadKeys(t *testing.T, s snapline.Store) {
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "A", "../x", "a/b"} {
		if err := s.Put(t.Context(), bad, nil); err == nil {
			t.Errorf("Put(%q) was accepted", bad)
		}
		if _, err := s.Swap(t.Context(), bad, nil, 0); err == nil {
			t.Errorf("Swap(%q) was accepted", bad)
		}
		if _, _, err := s.Get(t.Context(), bad); err == nil || errors.Is(err, snapline.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want another error", bad, err)
		}
		if err := s.Delete(t.Context(), bad); err == nil {
			t.Errorf("Delete(%q) was accepted", bad)
		}
	}
}

func testStoreContext(t *testing.T, s snapline.Store) {
	put(t, s, "k", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, getErr := s.Get(ctx, "k")
	_, swapErr := s.Swap(ctx, "k", nil, 0)
	_, keysErr := s.Keys(ctx, "")
	for name, err := range map[string]error{
		"Get": getErr, "Put": s.Put(ctx, "k", nil), "Swap": swapErr, "Keys": keysErr, "Delete": s.Delete(ctx, "k"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want context.Canceled", name, err)
		}
	}
	if v, _ := get(t, s, "k"); v != "1" {
		t.Errorf("value is %q after refused calls", v)
	}
}
