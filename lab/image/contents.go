package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"sort"
	"strings"
)

// applets are the busybox commands that init.sh and a person at the console use.
var applets = []string{"cat", "date", "dmesg", "free", "grep", "hostname", "insmod", "ip", "kill", "ls",
	"mkdir", "mount", "ping", "poweroff", "ps", "sh", "sleep", "top", "tr"}

// contents reads the packages and returns the kernel and the initramfs.
func contents(ctx context.Context, debs []string, program []byte) (kernel []byte, _ []entry, _ error) {
	files := make(map[string][]byte) // path in the guest, without the leading slash
	links := make(map[string]string)
	for _, deb := range debs {
		if err := readDeb(ctx, deb, files, links); err != nil {
			return nil, nil, err
		}
	}
	var modules = make(map[string][]byte)
	for name, data := range files {
		switch {
		case strings.HasPrefix(name, "boot/vmlinuz-"):
			kernel = data
		case strings.HasSuffix(name, ".ko"):
			modules[strings.TrimSuffix(path.Base(name), ".ko")] = data
		}
	}
	if kernel == nil {
		return nil, nil, errors.New("the kernel's package has no boot/vmlinuz")
	}
	entries := []entry{
		file("init", 0o755, initScript),
		file("bin/bank", 0o755, program),
		file("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\n")),
	}
	for _, d := range []string{"data", "dev", "proc", "run", "sys", "tmp"} {
		entries = append(entries, directory(d))
	}
	for from, to := range map[string]string{"bin/busybox": "bin/busybox", "usr/bin/busybox": "bin/busybox", "usr/bin/etcd": "bin/etcd"} {
		if data := files[from]; data != nil {
			entries = append(entries, file(to, 0o755, data))
		}
	}
	for _, a := range applets {
		entries = append(entries, symlink("bin/"+a, "busybox"))
	}
	libs, err := libraries("usr/bin/etcd", files, links)
	if err != nil {
		return nil, nil, err
	}
	entries = append(entries, libs...)
	mods, err := moduleEntries(modules)
	if err != nil {
		return nil, nil, err
	}
	entries = append(entries, mods...)
	return kernel, withParents(entries), nil
}

// readDeb adds a package's regular files and links. The tar archive comes from
// dpkg-deb, which knows every compression that Debian uses.
func readDeb(ctx context.Context, deb string, files map[string][]byte, links map[string]string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	err = readTar(out, files, links)
	io.Copy(io.Discard, out)
	if werr := cmd.Wait(); werr != nil {
		return fmt.Errorf("unpack %s: %w: %s", deb, werr, strings.TrimSpace(complaint.String()))
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", deb, err)
	}
	return nil
}

func readTar(r io.Reader, files map[string][]byte, links map[string]string) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		switch h.Typeflag {
		case tar.TypeReg:
			if files[name], err = io.ReadAll(tr); err != nil {
				return err
			}
		case tar.TypeSymlink:
			target := h.Linkname
			if !path.IsAbs(target) {
				target = path.Join("/", path.Dir(name), target)
			}
			links[name] = strings.TrimPrefix(path.Clean(target), "/")
		}
	}
}

// withParents adds the folders that entries lie in and sorts all by path, so
// that a folder comes before what it holds and equal inputs make equal bytes.
func withParents(entries []entry) []entry {
	have := make(map[string]bool)
	for _, e := range entries {
		have[e.name] = true
	}
	for _, e := range entries {
		for d := path.Dir(e.name); d != "."; d = path.Dir(d) {
			if !have[d] {
				have[d] = true
				entries = append(entries, directory(d))
			}
		}
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].name < entries[j].name })
	return entries
}
