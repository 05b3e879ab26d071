package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programDir is where TestMain puts the programs under test: the directory of
// the test binary itself, which "go test" makes for this run and removes.
func programDir() string {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return filepath.Dir(self)
}

// snaplineProgram and guestProgram are the programs that TestMain has built.
func snaplineProgram() string { return filepath.Join(programDir(), "snapline") }
func guestProgram() string    { return filepath.Join(programDir(), "snapline-bank") }

func TestMain(m *testing.M) {
	flag.Parse()
	if !testing.Short() {
		if err := buildPrograms(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func buildPrograms() error {
	for path, pkg := range map[string]string{
		snaplineProgram(): "github.com/snapline/snapline/cmd/snapline",
		guestProgram():    "github.com/snapline/snapline/lab/guest/bank",
	} {
		// The flags are those of package lab, so that the guest's program has the
		// same bytes and the image cache knows it.
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}
