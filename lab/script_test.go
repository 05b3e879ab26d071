package lab

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/snapline/snapline/lab/image"
)

// The script is one that a shell takes, and gives QEMU the words it was made of.
func TestScript(t *testing.T) {
	v := VM{Name: "n1", MAC: "52:54:00:77:00:0b", MemMB: 256, QMP: "/run/l/vms/n1.qmp", Console: "/run/a b/n1.console", Disk: "/run/l/disks/h1/n1.qcow2", Script: "/run/l/run-n1.sh"}
	img := image.Image{Kernel: "/c/vmlinuz", Initrd: "/c/initrd.zst"}
	s := script(v, img, TCG, "quiet it's=1")
	// The same script, only that it prints the words instead.
	probe := "ip() { :; }\n" + strings.Replace(s, "exec qemu-system-x86_64", "printf '%s\\n'", 1)
	out, err := exec.Command("sh", "-c", probe).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, words := range qemuLines(v, img, TCG, "quiet it's=1", "tap-n1") {
		want = append(want, words...)
	}
	if got := strings.TrimSpace(string(out)); got != strings.Join(want[1:], "\n") {
		t.Errorf("QEMU got\n%s\nwant\n%s", got, strings.Join(want[1:], "\n"))
	}
}

func TestListener(t *testing.T) {
	n := 0
	l := &listener{word: []byte("Linux version"), found: func() { n++ }}
	for _, part := range []string{"\x1bc SeaBIOS Lin", "ux ver", "sion 6.1", " Linux version"} {
		l.Write([]byte(part))
	}
	if n != 1 || !l.done() {
		t.Errorf("found %d times", n)
	}
}

func TestAccelOverride(t *testing.T) {
	for env, want := range map[string]Accel{"kvm": KVM, "tcg": TCG, "hvf": ""} {
		t.Setenv("SNAPLINE_ACCEL", env)
		if got, err := chooseAccel(t.Context(), image.Image{}); got != want || (err == nil) != (want != "") {
			t.Errorf("SNAPLINE_ACCEL=%s: %q, %v", env, got, err)
		}
	}
}
