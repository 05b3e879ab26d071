package s3test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

const program = "github.com/versity/versitygw"

// Program returns the path of versitygw in the version that
// tools/versitygw/go.mod pins, compiled on the first call on this machine,
// which takes up to two minutes.
func Program() (string, error) {
	module, err := toolModule()
	if err != nil {
		return "", err
	}
	version, err := pinned(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "snapline", "tools", version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	return compile(module, folder)
}

// compile builds once, also when the tests of several packages start at once.
func compile(module, folder string) (string, error) {
	bin := filepath.Join(folder, "versitygw")
	lock, err := os.OpenFile(bin+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	cmd := exec.Command("go", "build", "-C", module, "-ldflags=-s -w", "-o", bin+".new", program+"/cmd/versitygw")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return bin, os.Rename(bin+".new", bin)
}

// toolModule is the folder tools/versitygw of the module under test.
func toolModule() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	gomod := strings.TrimSpace(string(out))
	if gomod == "" || gomod == os.DevNull {
		return "", errors.New("tests that need an S3 server build it from the source tree: run them with go test in it")
	}
	return filepath.Join(filepath.Dir(gomod), "tools", "versitygw"), nil
}

// pinned reads the version from a go.mod.
func pinned(gomod string) (string, error) {
	b, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(program) + ` (v[\w.+-]+)`).FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("%s does not require %s", gomod, program)
	}
	return string(m[1]), nil
}
