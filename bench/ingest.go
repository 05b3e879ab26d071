package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The versions of the memory image.
var versions = []string{"first", "after small writes", "after rewriting a tenth"}

// Forms of the image. Snapline's is the stream; others get what suits them, and
// a raw image, in which every page has its place, lacks the devices' state.
const (
	formStream = "migration stream"
	formRaw    = "raw RAM"
)

// rawRuns is how often the raw image is stored, and later versions by the
// others: what a program adds hardly changes from run to run.
const rawRuns = 2

// ingestSample is one version stored by one program.
type ingestSample struct {
	usage
	Backup   string  `json:"backup"`
	Form     string  `json:"form"`
	Version  string  `json:"version"`
	Run      int     `json:"run"`
	AddedMiB float64 `json:"added_mib"`
}

// images are files of each form, one for each version.
type images map[string][]string

// measureIngest stores all versions with all programs, each run in repositories
// of its own. The programs take turns, so that what else the machine does meets
// all of them.
func measureIngest(ctx context.Context, folder string, files images, runs int) ([]ingestSample, error) {
	var all []ingestSample
	for run := range runs {
		for _, b := range backups {
			for _, form := range []string{formStream, formRaw} {
				ours := b.name == "snapline"
				list := files[form]
				if form == formRaw && (ours || run >= rawRuns) {
					continue
				}
				if !ours && run >= rawRuns {
					list = list[:1]
				}
				got, err := ingest(ctx, folder, b, list)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", b.name, form, err)
				}
				for v := range got {
					got[v].Backup, got[v].Form, got[v].Version, got[v].Run = b.name, form, versions[v], run
					say("  %d/%d %-8s %-16s %-24s %6.0f ms, %6.0f ms of processor, %6.1f MiB added", run+1, runs, b.name, form, versions[v], got[v].WallMS, got[v].CPUMS, got[v].AddedMiB)
				}
				all = append(all, got...)
			}
		}
	}
	return all, nil
}

// ingest stores one version after the other in a new repository, under the same
// name.
func ingest(ctx context.Context, folder string, b backup, list []string) (_ []ingestSample, err error) {
	work, err := os.MkdirTemp(folder, "ingest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	repo, image := filepath.Join(work, "repo"), filepath.Join(work, "image")
	if _, _, err := measured(b.init(ctx, repo)); err != nil {
		return nil, err
	}
	var all []ingestSample
	before, err := size(repo)
	if err != nil {
		return nil, err
	}
	for v, file := range list {
		if err := os.Rename(file, image); err != nil {
			return nil, err
		}
		unix.Sync() // what the run before has left to write
		u, _, err := measured(b.store(ctx, repo, v+1, image))
		if err := os.Rename(image, file); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		after, err := size(repo)
		if err != nil {
			return nil, err
		}
		all = append(all, ingestSample{usage: u, AddedMiB: float64(after-before) / (1 << 20)})
		before = after
	}
	return all, nil
}
