package repository

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob/dir"
)

const benchPages = 512 << 20 / 4096

// changedPages are 25 MiB of the 512 MiB, zero pages not counted, in runs of 4.
func changedPages(i int64) bool { return i/4*2654435761%(1<<20) < (1<<20)/14 }

func benchRepository(b *testing.B) *Repository {
	b.Helper()
	s, err := dir.Create(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return create(b, s)
}

func benchStream(b *testing.B, changed func(int64) bool) []byte {
	b.Helper()
	stream, err := io.ReadAll(guestLike(benchPages, 1, changed).stream())
	if err != nil {
		b.Fatal(err)
	}
	return stream
}

// cpu is what this process has used of the processors.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPut stores a machine of 512 MiB: first, then with 25 MiB changed,
// then unchanged.
func BenchmarkPut(b *testing.B) {
	streams := [][]byte{benchStream(b, nil), benchStream(b, changedPages)}
	streams = append(streams, streams[1])
	for i, name := range []string{"first", "changed", "same"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchPages * 4096)
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				r := benchRepository(b)
				for k, s := range streams[:i] {
					if _, err := r.Put(b.Context(), snapline.NewSnapshotID("bench", snapline.Round(k+1)), "n1", bytes.NewReader(s)); err != nil {
						b.Fatal(err)
					}
				}
				used := cpu(b)
				b.StartTimer()
				o, err := r.Put(b.Context(), "bench-9", "n1", bytes.NewReader(streams[i]))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(o.StoredBytes)/(1<<20), "MiB-added")
				b.ReportMetric((cpu(b) - used).Seconds(), "cpu-s")
			}
		})
	}
}

// BenchmarkOpen reads the second version back; BenchmarkVerify looks at it.
func BenchmarkOpen(b *testing.B)   { benchRead(b, false) }
func BenchmarkVerify(b *testing.B) { benchRead(b, true) }

func benchRead(b *testing.B, verify bool) {
	r := benchRepository(b)
	var o snapline.Object
	for k, s := range [][]byte{benchStream(b, nil), benchStream(b, changedPages)} {
		var err error
		if o, err = r.Put(b.Context(), snapline.SnapshotID(fmt.Sprintf("bench-%d", k+1)), "n1", bytes.NewReader(s)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(benchPages * 4096)
	used := cpu(b)
	defer func() { b.ReportMetric((cpu(b)-used).Seconds()/float64(b.N), "cpu-s/op") }()
	for b.Loop() {
		r.frames = newFrameCache(frameCacheBytes)
		if verify {
			if err := r.Verify(b.Context(), "bench-2", "n1", o); err != nil {
				b.Fatal(err)
			}
			continue
		}
		f, err := r.Open(b.Context(), "bench-2", "n1", o)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
