package cmdline

import (
	"strings"
	"testing"
)

func TestHasMAC(t *testing.T) {
	for line, want := range map[string]bool{
		"-device virtio-net-pci,netdev=n0,mac=52:54:00:AB:cd:01":                    true,
		"-nic tap,ifname=t0,mac=52:54:00:ab:cd:01":                                  true,
		"-net nic,macaddr=52:54:00:ab:cd:01 -net tap":                               true,
		"-device e1000,mac=52:54:00:00:00:09 -device e1000,mac=52:54:00:ab:cd:01":   true,
		"-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:09":                    false,
		"-device virtio-net-pci,netdev=n0":                                          false,
		"-name mac=52:54:00:ab:cd:01 -device virtio-net-pci,mac=52:54:00:00:00:09":  false,
		"-netdev tap,id=n0 -device virtio-blk-pci,drive=d,serial=52:54:00:ab:cd:01": false,
		"-device {\"driver\":\"virtio-net-pci\",\"mac\":\"52:54:00:ab:cd:01\"}":     true,
	} {
		if got := HasMAC(Parse(strings.Fields(line)), "52:54:00:ab:cd:01"); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
	// QEMU's own, when none is named.
	for line, want := range map[string]bool{"-device e1000,netdev=n0": true, "-device e1000,mac=52:54:00:00:00:09": false} {
		if got := HasMAC(Parse(strings.Fields(line)), "52:54:00:12:34:57"); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}
