package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/snapline/snapline"
)

// image is one file of a chain as "qemu-img info --output=json" tells.
type image struct {
	Filename    string `json:"filename"`
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual-size"`
	ClusterSize int64  `json:"cluster-size"`
	Encrypted   bool   `json:"encrypted"`
	Specific    struct {
		Data struct {
			Corrupt    bool   `json:"corrupt"`
			DataFile   string `json:"data-file"`
			ExtendedL2 bool   `json:"extended-l2"`
		} `json:"data"`
	} `json:"format-specific"`
}

// unit is what the extents of the image are multiples of: the smallest stretch
// that it can hold by itself, but no less than a page. 0: it holds any.
func (i image) unit() int64 {
	unit := i.ClusterSize
	if i.Specific.Data.ExtendedL2 {
		unit /= 32
	}
	if unit == 0 {
		return 0
	}
	return max(unit, snapline.PageSize)
}

// chain lists a disk's files from the top down. It reads without a lock, so
// also what a QEMU has open.
func chain(ctx context.Context, path, format string) ([]image, error) {
	out, err := imageTool(ctx, "info", "--output=json", "--backing-chain", "-U", "-f", format, path)
	if err != nil {
		return nil, err
	}
	var images []image
	if err := json.Unmarshal(out, &images); err != nil {
		return nil, fmt.Errorf("qemu-img info %s: %w", path, err)
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("qemu-img info %s: empty answer", path)
	}
	return images, nil
}

// CheckFormats wants qemu-img here, and to know the disks' formats.
func CheckFormats(ctx context.Context, disks []snapline.DiskSnapshot) error {
	out, err := imageTool(ctx, "--help")
	if err != nil {
		return fmt.Errorf("disks cannot be written: %w", err)
	}
	_, list, _ := strings.Cut(string(out), "Supported formats:")
	known := strings.Fields(list)
	for _, d := range disks {
		formats := []string{d.Format}
		if d.Backing != nil {
			formats = append(formats, d.Backing.Format)
		}
		for _, format := range formats {
			if format != "raw" && format != "qcow2" || !slices.Contains(known, format) {
				return fmt.Errorf("disk %s is of format %q, which cannot be written here", d.ID, format)
			}
		}
	}
	return nil
}

// imageTool runs qemu-img and returns what it prints.
func imageTool(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, toolError(ctx, cmd, err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// toolError prefers what the tool has printed to its exit status.
func toolError(ctx context.Context, cmd *exec.Cmd, err error, stderr string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("qemu-img %s: %w", cmd.Args[1], context.Cause(ctx))
	}
	if said := strings.TrimSpace(stderr); said != "" {
		return fmt.Errorf("qemu-img %s: %w: %s", cmd.Args[1], err, strings.ReplaceAll(said, "\n", "; "))
	}
	return fmt.Errorf("qemu-img %s: %w", cmd.Args[1], err)
}
