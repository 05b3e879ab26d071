package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/snapline/snapline/lab"
)

// TestChaos is the run of `make chaos` for two steps on one group: a host is cut off
// from the coordinator for longer than its lease, and one dies in the middle of a
// snapshot; with all of the checks.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	if os.Geteuid() != 0 {
		t.Fatal("a lab makes network namespaces: run as root")
	}
	dir := t.TempDir()
	for name, pkg := range map[string]string{"snapline": "cmd/snapline", "snapline-bank": "lab/guest/bank"} {
		// The flags are those of package lab: the image cache knows the same bytes again.
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", filepath.Join(dir, name), "github.com/snapline/snapline/"+pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	o := options{program: filepath.Join(dir, "snapline"), guest: filepath.Join(dir, "snapline-bank"), out: t.TempDir(), name: fmt.Sprintf("t%d", os.Getpid()),
		seed: 53, length: time.Hour, steps: 2, every: 15 * time.Second, memory: 256}
	r, err := playAll(t.Context(), o, []string{string(lab.Etcd)})
	if err != nil {
		t.Fatal(err)
	}
	r.print(t.Output())
	g := r.Groups[0]
	if !r.ok() || len(g.Steps) != o.steps || g.Checks["well"] != o.steps || g.Checks["workload"] != o.steps+1 || g.Checks["packs"] != 1 {
		t.Errorf("%d steps, checks %v, violations %+v", len(g.Steps), g.Checks, g.Violations)
	}
	if g.Restores == 0 || g.Taken == 0 {
		t.Errorf("%d snapshots and %d restores: nothing was tried", g.Taken, g.Restores)
	}
}
