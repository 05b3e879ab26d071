package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A file system in memory is as large as one says, and can be made larger and
// smaller while it is in use: a small one is a full one.

func mount(at string, room int64) error {
	if err := unix.Mount("snapline-chaos", at, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", room)); err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return nil
}

// resize gives a file system some room beside what is in use.
func resize(at string, free func(used int64) int64) error {
	var err error
	for range 5 { // it may be growing
		var st unix.Statfs_t
		if err = unix.Statfs(at, &st); err != nil {
			return fmt.Errorf("look at %s: %w", at, err)
		}
		used := int64(st.Blocks-st.Bfree) * st.Bsize
		if err = unix.Mount("", at, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", used+free(used))); err == nil {
			return nil
		}
	}
	return fmt.Errorf("resize %s: %w", at, err)
}

// unmountBelow takes away every mount below a folder, the innermost first.
func unmountBelow(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for _, line := range slices.Backward(strings.Split(string(table), "\n")) {
		// proc_pid_mountinfo(5): the fifth field is where it is mounted.
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			if err := unix.Unmount(f[4], unix.MNT_DETACH); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", f[4], err))
			}
		}
	}
	return errors.Join(errs...)
}
