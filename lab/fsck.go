package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// Fsck checks the ext4 file system of a disk image, which it may alter: the
// image of a disk that was in use has a journal to be replayed, as after a
// loss of power. What is wrong beyond that is the error.
func Fsck(ctx context.Context, raw string) error {
	// Status 1: something was corrected, which -p only does where it is safe,
	// e2fsck(8).
	out, err := exec.CommandContext(ctx, "e2fsck", "-f", "-p", raw).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err == nil {
		out, err = exec.CommandContext(ctx, "e2fsck", "-f", "-n", raw).CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("e2fsck %s: %w: %s", raw, err, out)
	}
	return nil
}
