package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/snapline/snapline/repository/blob"
)

// flagOrEnv is a flag's value or, if it is empty, the environment's.
func flagOrEnv(d Deps, flag, name string) string {
	if flag != "" {
		return flag
	}
	v, _ := d.Env(name)
	return v
}

// parseSize reads "20GiB", "500 MB" or a number of bytes.
func parseSize(s string) (int64, error) {
	lower := strings.ToLower(s)
	n, err := blob.ParseRate(s)
	if err != nil || strings.Contains(lower, "/") || strings.Contains(lower, "bit") {
		return 0, fmt.Errorf("size %q: write it like 20GiB or 500MB", s)
	}
	return n, nil
}

// syncFolder makes a new file's name durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// processDeps are those of a command that runs as long as its process.
func processDeps() Deps {
	return Deps{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv}
}
