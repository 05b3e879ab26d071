package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
)

// repositoryResult is what was measured of the repository.
type repositoryResult struct {
	*conditions
	Images  []imageSize                `json:"images"`
	Ingest  []ingestSample             `json:"ingest"`
	Restore map[string][]restoreSample `json:"restore"`
	Memory  []memorySample             `json:"memory"`
}

// imageSize says what was stored.
type imageSize struct {
	Version   string  `json:"version"`
	RAMMiB    float64 `json:"ram_mib"`
	StreamMiB float64 `json:"stream_mib"`
}

// memorySample is a process that stores or reads one image.
type memorySample struct {
	usage
	Verb  string  `json:"verb"` // put, open
	GiB   float64 `json:"gib"`  // of RAM
	Image string  `json:"image"`
}

func measureRepository(ctx context.Context, o options) (_ *repositoryResult, err error) {
	folder, err := os.MkdirTemp("", "snapline-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	r := &repositoryResult{}
	if r.conditions, err = newConditions(ctx, folder); err != nil {
		return nil, err
	}
	g, err := startGuest(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close(ctx)) }()
	files := images{}
	if files[formStream], err = captureVersions(ctx, g, folder); err != nil {
		return nil, err
	}
	// The machine would take a processor from those that are measured.
	if err := g.lab.KillVM(ctx, member); err != nil {
		return nil, err
	}
	repo := filepath.Join(folder, "repo")
	if files[formRaw], err = r.prepare(ctx, folder, repo, files[formStream]); err != nil {
		return nil, err
	}
	if err := r.note("ingest"); err != nil {
		return nil, err
	}
	if r.Ingest, err = measureIngest(ctx, folder, files, o.repeats); err != nil {
		return nil, err
	}
	if err := r.note("restore"); err != nil {
		return nil, err
	}
	last := len(versions)
	back := &restore{g, repo, snapline.NewSnapshotID("bench", snapline.Round(last)), files[formStream][last-1]}
	if r.Restore, err = restoreAll(ctx, back, o.restores); err != nil {
		return nil, err
	}
	if o.large > 0 {
		large, err := measureLarge(ctx, o.large)
		if err != nil {
			return nil, fmt.Errorf("a generated machine of %d GiB: %w", o.large, err)
		}
		r.Memory = append(r.Memory, large...)
	}
	return r, r.note("end")
}

// captureVersions captures the machine, lets it work, and captures it again.
func captureVersions(ctx context.Context, g *guest, folder string) ([]string, error) {
	work := []func() error{
		func() error { return nil },
		func() error { return g.load(ctx, guestWork) },
		func() error { return g.rewrite(ctx) },
	}
	var list []string
	for v, work := range work {
		began := time.Now()
		if err := work(); err != nil {
			return nil, err
		}
		path := filepath.Join(folder, fmt.Sprintf("stream-%d", v+1))
		if err := g.capture(ctx, path); err != nil {
			return nil, fmt.Errorf("capture, %s: %w", versions[v], err)
		}
		say("  captured, %s, after %.0f s", versions[v], time.Since(began).Seconds())
		list = append(list, path)
	}
	return list, nil
}

// prepare stores all versions, reads the last one, and exports the raw images.
func (r *repositoryResult) prepare(ctx context.Context, folder, repo string, streams []string) ([]string, error) {
	if _, _, err := measured(self(ctx, "init", repo)); err != nil {
		return nil, err
	}
	var raw []string
	for v, stream := range streams {
		id := fmt.Sprintf("bench-%d", v+1)
		put, _, err := measured(self(ctx, "put", repo, id, stream))
		if err != nil {
			return nil, err
		}
		open, _, err := measured(self(ctx, "open", repo, id))
		if err != nil {
			return nil, err
		}
		const gib = float64(guestMemMB) / 1024
		r.Memory = append(r.Memory, memorySample{put, "put", gib, versions[v]}, memorySample{open, "open", gib, versions[v]})
		path := filepath.Join(folder, fmt.Sprintf("raw-%d", v+1))
		if _, _, err := measured(self(ctx, "export", repo, id, path)); err != nil {
			return nil, err
		}
		raw = append(raw, path)
		st, err := os.Stat(stream)
		if err != nil {
			return nil, err
		}
		r.Images = append(r.Images, imageSize{versions[v], guestMemMB, float64(st.Size()) / (1 << 20)})
	}
	return raw, nil
}

// restoreAll starts the machine from the last version in both ways, and asks
// the last one whether it works.
func restoreAll(ctx context.Context, r *restore, runs int) (map[string][]restoreSample, error) {
	all, err := r.measure(ctx, runs)
	if err != nil {
		return nil, err
	}
	if _, err := r.fromRepository(ctx); err != nil {
		return nil, err
	}
	return all, r.guest.lab.AwaitHealthy(ctx)
}
