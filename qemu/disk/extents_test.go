package disk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
)

// images makes a chain with everything that a map can show: data, zeros over
// data, compressed clusters, an intermediate layer.
func images(t *testing.T, bottomFormat string, cluster string) (top, bottom string) {
	t.Helper()
	needTools(t)
	dir := t.TempDir()
	plain, middle := filepath.Join(dir, "plain"), filepath.Join(dir, "middle")
	top, bottom = filepath.Join(dir, "top"), filepath.Join(dir, "bottom")
	run(t, "qemu-img", "create", "-q", "-f", "raw", plain, "40M")
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 1 0 3M", "-c", "write -P 2 20M 20M", plain)
	run(t, "qemu-img", "convert", "-q", "-f", "raw", "-O", bottomFormat, plain, bottom)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size="+cluster, "-b", bottom, "-F", bottomFormat, middle)
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -c -P 3 1M 2M", "-c", "write -z 21M 1M", "-c", "write -c -P 5 30M 1M", middle)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size="+cluster, "-b", middle, "-F", "qcow2", top, "50M")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 4 1536k 70000", "-c", "write -z 30M 64k", "-c", "write -P 6 49M 1M", top)
	return top, bottom
}

func openDisk(t *testing.T, path, format string) snapline.FrozenDisk {
	t.Helper()
	d, err := disk.OpenChain(testContext(t), path, format)
	if err != nil {
		t.Fatal(err)
	}
	return disk.Still(d)
}

// TestCopies takes disks apart and puts them together again, with their backing
// file, in both formats.
func TestCopies(t *testing.T) {
	for _, format := range []string{"raw", "qcow2"} {
		for _, cluster := range []string{"64k", "4k", "1M"} {
			t.Run(format+"-"+cluster, func(t *testing.T) {
				top, bottom := images(t, format, cluster)
				d := openDisk(t, top, "qcow2")
				back := filepath.Join(t.TempDir(), "bottom")
				info := d.Backing().Info()
				if info.Path != bottom || info.Format != format {
					t.Errorf("backing file %+v", info)
				}
				materialise(t, disk.Target{Path: back, Format: "qcow2", Size: info.Size}, d.Backing().Extents(testContext(t)))
				again, err := disk.OpenBacking(testContext(t), back, "qcow2")
				if err != nil {
					t.Fatal(err)
				}
				if a, b := digest(t, d.Backing()), digest(t, again); a != b {
					t.Errorf("digests %s and %s of the same content", a, b)
				}
				copied := filepath.Join(t.TempDir(), "copy")
				i := d.Info()
				materialise(t, disk.Target{Path: copied, Format: "qcow2", Size: i.Size, ClusterSize: i.ClusterSize, Backing: back, BackingFormat: "qcow2"}, d.Extents(testContext(t)))
				if !bytes.Equal(content(t, top, "qcow2"), content(t, copied, "qcow2")) {
					t.Error("the copy differs")
				}
			})
		}
	}
}

func materialise(t *testing.T, target disk.Target, extents iter.Seq2[snapline.Extent, error]) {
	t.Helper()
	target.Mode = 0o640
	if err := disk.Materialise(testContext(t), target, extents); err != nil {
		t.Fatal(err)
	}
	if target.Format == "qcow2" {
		run(t, "qemu-img", "check", "-q", "-f", "qcow2", target.Path)
	}
}

func digest(t *testing.T, b snapline.BackingFile) string {
	t.Helper()
	sum, err := b.Digest(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestReplace wants a failed restore to leave the old disk, and sparse files.
func TestReplace(t *testing.T) {
	_, bottom := images(t, "raw", "64k")
	d := openDisk(t, bottom, "raw")
	path := filepath.Join(t.TempDir(), "disk.raw")
	target := disk.Target{Path: path, Format: "raw", Size: d.Info().Size, Mode: 0o600}
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.Materialise(testContext(t), target, d.Extents(testContext(t))); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing file: %v", err)
	}
	target.Replace = true
	broken := errors.New("broken off")
	err := disk.Materialise(testContext(t), target, func(yield func(snapline.Extent, error) bool) {
		_ = yield(snapline.Extent{Length: 3, Data: []byte("new")}, nil) && yield(snapline.Extent{}, broken)
	})
	if b, _ := os.ReadFile(path); !errors.Is(err, broken) || string(b) != "old" {
		t.Errorf("after a failure (%v): %q", err, b)
	}
	materialise(t, target, d.Extents(testContext(t)))
	if !bytes.Equal(content(t, bottom, "raw"), content(t, path, "raw")) {
		t.Error("the copy differs")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	holes := 0
	for range d.Extents(testContext(t)) {
		holes++
	}
	if holes > 24 {
		t.Errorf("%d extents for 23 MiB of data", holes)
	}
}
