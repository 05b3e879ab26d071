package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A file system that was filled up takes nothing, keeps what it has, and has its
// room again afterwards.
func TestFill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a file system: run as root")
	}
	root := t.TempDir()
	at := filepath.Join(root, "disk")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	const room = 16 << 20
	if err := mount(at, room); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unmountBelow(root) })
	write := func(name string, size int) error {
		return os.WriteFile(filepath.Join(at, name), make([]byte, size), 0o600)
	}
	if err := write("before", 4<<20); err != nil {
		t.Fatal(err)
	}
	c, err := fill(at, room)
	if err != nil {
		t.Fatal(err)
	}
	if err := write("large", 1<<20); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk took a file: %v", err)
	}
	if err := os.Remove(filepath.Join(at, "large")); err != nil {
		t.Fatal(err)
	}
	if err := c.heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := write("large", 8<<20); err != nil {
		t.Errorf("it is still full: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(at, "before")); err != nil || len(b) != 4<<20 {
		t.Errorf("%d bytes are left of a file from before: %v", len(b), err)
	}
	if err := unmountBelow(root); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
		t.Errorf("it is still mounted: %v, %v", left, err)
	}
}
