package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// makeDisk makes a qcow2 file with an empty ext4 file system on it.
func makeDisk(ctx context.Context, path string, mb int) error {
	raw := path + ".raw"
	defer os.Remove(raw)
	for _, words := range [][]string{
		{"qemu-img", "create", "-q", "-f", "raw", raw, fmt.Sprintf("%dM", mb)},
		{"mkfs.ext4", "-q", "-F", "-m", "0", raw},
		{"qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, path},
	} {
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("make disk %s: %s: %w: %s", path, words[0], err, out)
		}
	}
	return nil
}
