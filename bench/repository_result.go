package main

import (
	"fmt"
	"io"
	"math"

	"github.com/jedib0t/go-pretty/v6/table"
)

// of returns the samples of one program, form and version.
func (r *repositoryResult) of(backup, form string, version int) (list []ingestSample) {
	for _, s := range r.Ingest {
		if s.Backup == backup && s.Form == form && s.Version == versions[version] {
			list = append(list, s)
		}
	}
	return list
}

// best is the lowest median of a figure that a program has with any form of the
// image.
func (r *repositoryResult) best(backup string, version int, figure func(ingestSample) float64) float64 {
	least := math.Inf(1)
	for _, form := range []string{formStream, formRaw} {
		if list := r.of(backup, form, version); len(list) > 0 {
			least = min(least, median(list, figure))
		}
	}
	return least
}

func wall(s ingestSample) float64      { return s.WallMS }
func processor(s ingestSample) float64 { return s.CPUMS }
func added(s ingestSample) float64     { return s.AddedMiB }

func (r *repositoryResult) judge() (list []target) {
	most := func(name, want string, got, limit float64) {
		list = append(list, target{name, want, got, got <= limit})
	}
	ratio := func(version int, other string, figure func(ingestSample) float64) float64 {
		return r.best("snapline", version, figure) / r.best(other, version, figure)
	}
	most("memory image, first version: time beside restic's", "≤ 0.67", ratio(0, "restic", wall), 1/1.5)
	most("  its processor time beside restic's", "≤ 0.67", ratio(0, "restic", processor), 1/1.5)
	most("  second version: bytes added beside restic's", "≤ 0.25", ratio(1, "restic", added), 0.25)
	most("  second version: bytes added beside borg's", "≤ 0.25", ratio(1, "borg", added), 0.25)
	times := func(s restoreSample) float64 { return s.WallMS }
	most("restore beside QEMU from a plain file", "≤ 1.5", median(r.Restore[fromRepository], times)/median(r.Restore[fromFile], times), 1.5)
	return list
}

func (r *repositoryResult) print(w io.Writer) {
	title := fmt.Sprintf("memory of a machine of %.0f MiB, streams of", r.Images[0].RAMMiB)
	for _, i := range r.Images {
		title += fmt.Sprintf(" %.0f", i.StreamMiB)
	}
	t := newTable(title+" MiB (medians)", "program", "form", "version", "runs", "time", "processor", "added", "memory")
	for _, b := range backups {
		for _, form := range []string{formStream, formRaw} {
			for v, version := range versions {
				s := r.of(b.name, form, v)
				if len(s) == 0 {
					continue
				}
				t.AppendRow(table.Row{b.name, form, version, len(s), millis(median(s, wall)), millis(median(s, processor)),
					mebibytes(median(s, added)), mebibytes(median(s, func(s ingestSample) float64 { return s.PeakMiB }))})
			}
		}
	}
	fmt.Fprintln(w, t.Render())
	t = newTable("restore of its last version, to a running guest (medians)", "way", "runs", "time", "processor")
	for _, name := range []string{fromRepository, loadFile, fromFile} {
		s := r.Restore[name]
		t.AppendRow(table.Row{name, len(s), millis(median(s, func(s restoreSample) float64 { return s.WallMS })),
			millis(median(s, func(s restoreSample) float64 { return s.CPUMS }))})
	}
	fmt.Fprintln(w, t.Render())
	t = newTable("memory of a process that stores or reads", "verb", "image", "RAM", "time", "resident at most", "without mapped files")
	for _, s := range r.Memory {
		t.AppendRow(table.Row{s.Verb, s.Image, fmt.Sprintf("%g GiB", s.GiB), millis(s.WallMS), mebibytes(s.PeakMiB), mebibytes(s.AnonMiB)})
	}
	fmt.Fprintln(w, t.Render())
	fmt.Fprintf(w, "on %s, Linux %s; load average %v; %v\n", r.CPU, r.Kernel, r.Load, r.Versions)
}

func mebibytes(v float64) string { return fmt.Sprintf("%.1f MiB", v) }
