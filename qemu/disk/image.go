package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
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

// unit is the smallest stretch that the image can hold by itself.
func (i image) unit() int64 {
	if i.Specific.Data.ExtendedL2 {
		return i.ClusterSize / 32
	}
	return i.ClusterSize
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
