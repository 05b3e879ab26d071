package image

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestBuild makes an image from the archive's packages, twice at once in one
// cache, and checks that both builders get the same complete image.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("reads Debian's packages")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "bank")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{Cache: filepath.Join(dir, "cache"), Program: program, Progress: func(s string) { t.Log(s) }}
	var wg sync.WaitGroup
	images := make([]Image, 2)
	for i := range images {
		wg.Go(func() {
			var err error
			if images[i], err = Build(context.Background(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if images[0] != images[1] || !images[0].complete() {
		t.Fatalf("two builders got %+v and %+v", images[0], images[1])
	}
	left, err := filepath.Glob(filepath.Join(o.Cache, ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("unfinished builds left behind: %v %v", left, err)
	}
	if fi, err := os.Stat(images[0].Initrd); err == nil {
		t.Logf("initrd of %d KiB", fi.Size()>>10)
	}
}
