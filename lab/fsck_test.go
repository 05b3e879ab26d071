package lab

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestFsck(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "n1.qcow2")
	if err := makeDisk(t.Context(), disk, 64); err != nil {
		t.Fatal(err)
	}
	raw := disk + ".raw"
	if out, err := exec.Command("qemu-img", "convert", "-O", "raw", disk, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := Fsck(t.Context(), raw); err != nil {
		t.Error(err)
	}
	f, err := os.OpenFile(raw, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0x5a}, 1<<20), 4096); err != nil { // over the group descriptors
		t.Fatal(err)
	}
	if err := Fsck(t.Context(), raw); err == nil {
		t.Error("a ruined file system passes")
	}
}
