package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
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
		for _, cluster := range []string{"64k", "4k", "512", "1M"} {
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

// TestRaggedPages takes disks apart of which layers hold, or end in, parts of
// pages: extents are whole pages all the same, but at the disk's end.
func TestRaggedPages(t *testing.T) {
	needTools(t)
	const page, size = snapline.PageSize, 12<<20 + 512
	dir := t.TempDir()
	bottom, middle := filepath.Join(dir, "bottom"), filepath.Join(dir, "middle")
	run(t, "qemu-img", "create", "-q", "-f", "raw", bottom, "10486272") // 10 MiB and 512 bytes
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 1 0 3M", "-c", "write -P 2 10485760 512", bottom)
	for name, options := range map[string]string{"512": "cluster_size=512", "2k": "cluster_size=2k", "subclusters": "cluster_size=16k,extended_l2=on", "64k": "cluster_size=64k"} {
		for _, layers := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s-%d", name, layers), func(t *testing.T) {
				top := filepath.Join(t.TempDir(), "top")
				create := []string{"qemu-img", "create", "-q", "-f", "qcow2", "-o", options}
				switch layers {
				case 2:
					create = append(create, "-b", bottom, "-F", "raw")
				case 3:
					os.Remove(middle)
					run(t, append(create, "-b", bottom, "-F", "raw", middle, "11535872")...) // 11 MiB and 1,536 bytes
					run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 3 512 1k", "-c", "write -P 3 5M 3k", "-c", "write -z 2M 1536", "-c", "write -P 3 11535360 512", middle)
					create = append(create, "-b", middle, "-F", "qcow2")
				}
				run(t, append(create, top, strconv.Itoa(size))...)
				run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 4 3584 1k", "-c", "write -P 5 4121600 20000", "-c", "write -z 1M 512", "-c", "write -P 6 12582912 512", top)
				d := openDisk(t, top, "qcow2")
				if c := d.Info().ClusterSize; c < page {
					t.Errorf("cluster size %d", c)
				}
				end := int64(0)
				for e, err := range d.Extents(testContext(t)) {
					if err != nil {
						t.Fatal(err)
					}
					if e.Offset < end || e.Offset%page != 0 || e.Length%page != 0 && e.Offset+e.Length != size {
						t.Errorf("extent at %d of %d bytes, after %d", e.Offset, e.Length, end)
					}
					end = e.Offset + e.Length
				}
				target := disk.Target{Path: filepath.Join(t.TempDir(), "copy"), Format: "qcow2", Size: size, ClusterSize: d.Info().ClusterSize}
				if layers > 1 {
					target.Backing, target.BackingFormat = bottom, "raw"
				}
				materialise(t, target, d.Extents(testContext(t)))
				if !bytes.Equal(content(t, top, "qcow2"), content(t, target.Path, "qcow2")) {
					t.Error("the copy differs")
				}
			})
		}
	}
	raw := openDisk(t, bottom, "raw")
	last := snapline.Extent{}
	for e, err := range raw.Extents(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		last = e
	}
	if last.Offset%page != 0 || last.Offset+last.Length != raw.Info().Size || last.Data[0] != 2 {
		t.Errorf("a raw disk of %d bytes ends with %d bytes at %d", raw.Info().Size, last.Length, last.Offset)
	}
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
