package qemu_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline/qemu"
)

// TestTry asks the QEMU of this machine, which can all of it.
func TestTry(t *testing.T) {
	if testing.Short() {
		t.Skip("starts QEMU")
	}
	a, err := qemu.Try(t.Context(), "qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", a)
	if a.Background != nil || a.Thaw != nil || a.AccelErr != nil || a.Version == "" || a.Accel == "" {
		t.Errorf("a QEMU of 6.0 or later, and root, can all of it: %+v", a)
	}
}

func TestTryNoQEMU(t *testing.T) {
	silent := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"no-such-qemu": "not found", silent: silent} {
		if _, err := qemu.Try(t.Context(), program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", program, err, want)
		}
	}
}

func TestTryUserfaultfd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("userfaultfd may be forbidden to users")
	}
	if err := qemu.TryUserfaultfd(); err != nil {
		t.Error(err)
	}
}
