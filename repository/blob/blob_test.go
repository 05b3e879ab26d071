package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

func TestParseRate(t *testing.T) {
	for s, want := range map[string]int64{
		"": 0, "0": 0, "0 B/s": 0, "1": 1, "512": 512, "512B/s": 512, "10MiB/s": 10 << 20, "10 MiB/s": 10 << 20, "10mib": 10 << 20,
		"1.5GB/s": 1_500_000_000, "64kB": 64_000, "64KB/s": 64_000, "2GiB": 2 << 30, "100Mbit/s": 12_500_000, "1gbit": 125_000_000, "8kbit/s": 1000,
	} {
		if got, err := blob.ParseRate(s); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"-1", "x", "MiB/s", "10Mb/s", "10M", "1e9", "0x10", "Inf", "NaN", "10MiB/h", "1..5", "0.5", "9999999999GiB", "10 MiB / s s"} {
		if got, err := blob.ParseRate(s); err == nil {
			t.Errorf("ParseRate(%q) = %d", s, got)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"10MiB/s", "1.5GB/s", "100Mbit/s", "0", "", "9e99", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := blob.ParseRate(s); v < 0 || v > math.MaxInt64/2 || (err != nil && v != 0) {
			t.Errorf("ParseRate(%q) = %d, %v", s, v, err)
		}
	})
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a/b", "..", "a/../b", "a//b", "~tmp", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if blob.CheckName(s) != nil {
			return
		}
		for part := range bytes.SplitSeq([]byte(s), []byte("/")) {
			if p := string(part); p == "" || p == "." || p == ".." {
				t.Errorf("CheckName lets %q pass", s)
			}
		}
		for i := range len(s) {
			if err := blob.CheckPrefix(s[:i]); err != nil && len(s) < blob.MaxName && i%blob.MaxPart != 0 {
				t.Errorf("%q is a name but its beginning %q no prefix: %v", s, s[:i], err)
			}
		}
	})
}

// TestLimit runs on a clock of its own, so the pace can be held to exactly.
func TestLimit(t *testing.T) {
	for _, readers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			const size, rate = 10 << 20, 1 << 20
			s := blob.Limit(blobtest.NewMemory(), rate)
			start := time.Now()
			var wg sync.WaitGroup
			for i := range readers {
				wg.Go(func() {
					name := string(rune('a' + i))
					if err := s.Put(t.Context(), name, size, bytes.NewReader(make([]byte, size))); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			want := time.Duration(readers) * 10 * time.Second
			if took := time.Since(start); took < want-time.Second/16 || took > want {
				t.Errorf("%d × 10 MiB at 1 MiB/s took %v, not %v", readers, took, want)
			}
		})
	}
}

func TestLimitCreateAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := blob.Limit(blobtest.NewMemory(), 8<<10)
		start := time.Now()
		if err := s.Create(t.Context(), "a", make([]byte, 12<<10)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("12 KiB at 8 KiB/s with a burst of 4 KiB took %v, not 1s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Put(ctx, "b", 1<<20, bytes.NewReader(make([]byte, 1<<20))); err == nil {
			t.Error("a Put of two minutes ended within one second")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a cancelled Put returned after %v", took)
		}
	})
}

func TestUnpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &spy{Store: blobtest.NewMemory()}
		start := time.Now()
		if err := blob.Limit(m, 1).Put(t.Context(), "a", 1000, bytes.NewReader(make([]byte, 1000))); !errors.Is(err, errSpy) {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 || m.n != 1000 {
			t.Errorf("reading %d bytes without a brake took %v", m.n, took)
		}
	})
	if s := blobtest.NewMemory(); blob.Limit(s, 0) != blob.Store(s) {
		t.Error("no limit is not the store itself")
	}
}

var errSpy = errors.New("spy")

type spy struct {
	blob.Store
	n int64
}

func (s *spy) Put(_ context.Context, _ string, _ int64, r io.ReadSeeker) (err error) {
	if s.n, err = io.Copy(io.Discard, blob.Unpaced(r)); err != nil {
		return err
	}
	return errSpy
}
