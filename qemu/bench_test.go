package qemu_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/snapline/snapline/qemu"
)

// BenchmarkCut measures, on a guest of 1 GiB that writes to every page of it
// all the time, how long the VM is stopped, how long Cut takes, and the whole
// capture. Medians; run with -benchtime=7x or more.
func BenchmarkCut(b *testing.B) {
	for _, c := range []struct {
		name         string
		lazy, paused bool
	}{
		{"prefaulted", false, false},
		{"lazy", true, false},
		{"prefaulted-paused", false, true},
		{"lazy-paused", true, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := guestMachine(b, 1024)
			m.startWriting(b)
			h := hypervisor(b, qemu.Options{})
			qemu.SetLazy(h, c.lazy)
			vm := adopt(b, h, m)
			var pauses, cuts, primes, wholes []float64
			for b.Loop() {
				begin := time.Now()
				capture, err := vm.Prime(testContext(b), filepath.Join(m.dir, "spool"))
				if err != nil {
					b.Fatal(err)
				}
				primes = append(primes, ms(begin))
				if c.paused {
					if err := vm.Pause(testContext(b), time.Minute); err != nil {
						b.Fatal(err)
					}
				}
				begin = time.Now()
				report, err := capture.Cut(testContext(b))
				if err != nil {
					b.Fatal(err)
				}
				cuts = append(cuts, ms(begin))
				pauses = append(pauses, report.PauseMS)
				if _, err := capture.Finish(testContext(b)); err != nil {
					b.Fatal(err)
				}
				wholes = append(wholes, ms(begin))
				m.awaitSweep(b, readGuest(b, m.output).last()) // it runs freely again
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(pauses), "pause-ms")
			b.ReportMetric(slices.Max(pauses), "pause-max-ms")
			b.ReportMetric(median(primes), "prime-ms")
			b.ReportMetric(median(cuts), "cut-ms")
			b.ReportMetric(median(wholes), "whole-ms")
		})
	}
}

func ms(since time.Time) float64 { return float64(time.Since(since)) / float64(time.Millisecond) }

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
