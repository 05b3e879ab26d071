package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// packages are the binary packages that the guest is made of, beside the
// kernel, whose package's name changes with every release. libc6 holds the
// only shared libraries that etcd is linked with.
var packages = []string{"busybox-static", "etcd-server", "libc6"}

// kernelMeta depends on the kernel's present package.
const kernelMeta = "linux-image-cloud-amd64"

var kernelRE = regexp.MustCompile(`linux-image-[0-9][^ ,]*-cloud-amd64`)

// fetch returns the .debs of kernel and packages, kernel first, and downloads
// those that dir does not hold. It asks for fresh package lists only when the
// present ones do not do: none there yet, or naming files that the archive has
// replaced.
func fetch(ctx context.Context, dir string, progress func(string)) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	debs, err := fetchOnce(ctx, dir, progress)
	if err == nil || ctx.Err() != nil {
		return debs, err
	}
	progress("refreshing the package lists")
	if _, err := run(ctx, dir, "apt-get", "-qq", "update"); err != nil {
		return nil, err
	}
	return fetchOnce(ctx, dir, progress)
}

func fetchOnce(ctx context.Context, dir string, progress func(string)) ([]string, error) {
	meta, err := run(ctx, dir, "apt-cache", "show", "--no-all-versions", kernelMeta)
	if err != nil {
		return nil, err
	}
	kernel := kernelRE.FindString(meta)
	if kernel == "" {
		return nil, fmt.Errorf("package %s names no kernel", kernelMeta)
	}
	// In an empty folder, because apt-get does not name what is there already.
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	wanted := append([]string{kernel}, packages...)
	uris, err := run(ctx, tmp, "apt-get", append([]string{"download", "-qq", "--print-uris"}, wanted...)...)
	if err != nil {
		return nil, err
	}
	var debs, missing []string
	for _, pkg := range wanted {
		name, size := locate(uris, pkg)
		if name == "" {
			return nil, fmt.Errorf("apt-get knows no file of package %s", pkg)
		}
		deb := filepath.Join(dir, name)
		debs = append(debs, deb)
		if fi, err := os.Stat(deb); err != nil || strconv.FormatInt(fi.Size(), 10) != size {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		progress("downloading " + strings.Join(missing, ", "))
		// The sandbox user cannot write to root's cache folder.
		args := append([]string{"download", "-qq", "-o", "APT::Sandbox::User=root"}, missing...)
		if _, err := run(ctx, tmp, "apt-get", args...); err != nil {
			return nil, err
		}
	}
	for _, deb := range debs {
		err := os.Rename(filepath.Join(tmp, filepath.Base(deb)), deb)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return debs, nil
}

// locate finds a package's file name and size in lines of: 'uri' name size digest
func locate(uris, pkg string) (name, size string) {
	for line := range strings.Lines(uris) {
		if f := strings.Fields(line); len(f) >= 3 && strings.HasPrefix(f[1], pkg+"_") {
			return filepath.Base(f[1]), f[2]
		}
	}
	return "", ""
}

func names(debs []string) []string {
	var out []string
	for _, d := range debs {
		out = append(out, filepath.Base(d))
	}
	return out
}

// run returns a command's output; its error carries what it complained about.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
