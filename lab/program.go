package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programPackage is the guest program's source.
const programPackage = "github.com/snapline/snapline/lab/guest/bank"

// guestProgram returns the path of the static program of the roles bank and
// bench, and what to call when it is not needed any more.
func guestProgram(ctx context.Context, o Options) (path string, done func(), err error) {
	if o.Guest != "" {
		return o.Guest, func() {}, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "snapline-bank")
		if _, err := os.Stat(beside); err == nil {
			return beside, func() {}, nil
		}
	}
	return buildProgram(ctx)
}

// buildProgram compiles it; the same source and Go release give the same
// bytes, so the image cache knows it again.
func buildProgram(ctx context.Context) (path string, done func(), err error) {
	dir, err := os.MkdirTemp("", "snapline-guest-")
	if err != nil {
		return "", nil, err
	}
	done = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "bank")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", path, programPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		done()
		return "", nil, fmt.Errorf("build the guest's program: %w: %s (run it in Snapline's source tree, or put snapline-bank beside the snapline program)", err, bytes.TrimSpace(out))
	}
	return path, done, nil
}
