package lab

import (
	"fmt"
	"strings"
	"time"

	"github.com/snapline/snapline/lab/image"
	"github.com/snapline/snapline/lab/topology"
)

// Timeouts of etcd that suit emulated processors: a member that is captured,
// or that waits for one, may be slow for a second and must not lose an
// election by it. etcd's tuning guide asks for at least five heartbeats.
const (
	heartbeat = 500 * time.Millisecond
	election  = 5 * time.Second
)

// script is a user's own way to start the machine: a tap on the host's bridge,
// and one plain QEMU line.
func script(v VM, img image.Image, accel Accel, append string) string {
	tap := "tap-" + v.Name
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/sh
# Starts %[1]s on this host. From the lab's machine:
#   ip netns exec NAMESPACE sh %[2]s
set -e
if ! ip link show %[3]s >/dev/null 2>&1; then
	ip tuntap add dev %[3]s mode tap
	ip link set %[3]s master %[4]s up
fi
`, v.Name, v.Script, tap, topology.Bridge)
	b.WriteString("exec " + strings.Join(quoteLines(qemuLines(v, img, accel, append, tap)), " \\\n\t") + "\n")
	return b.String()
}

// qemuLines is QEMU's command line, one option with its value each.
func qemuLines(v VM, img image.Image, accel Accel, kernelLine, tap string) [][]string {
	lines := [][]string{
		{"qemu-system-x86_64"},
		{"-name", v.Name},
		{"-machine", "q35"}, {"-accel", accel.option()}, {"-cpu", accel.cpu()},
		{"-smp", "1"}, {"-m", fmt.Sprint(v.MemMB)},
		{"-nodefaults"}, {"-no-user-config"}, {"-display", "none"}, {"-no-reboot"},
		{"-kernel", img.Kernel},
		{"-initrd", img.Initrd},
		{"-append", kernelLine},
		// Appending, so that a restored machine does not empty it.
		{"-chardev", "file,id=console,append=on,path=" + v.Console}, {"-serial", "chardev:console"},
		{"-netdev", "tap,id=net0,ifname=" + tap + ",script=no,downscript=no"},
		// No boot ROM: it would only look for a network to boot from.
		{"-device", "virtio-net-pci,netdev=net0,romfile=,mac=" + v.MAC},
		{"-qmp", "unix:" + v.QMP + ",server=on,wait=off"},
	}
	if v.Disk != "" {
		lines = append(lines, [][]string{
			{"-drive", "if=none,id=data,format=qcow2,file=" + v.Disk}, {"-device", "virtio-blk-pci,drive=data"},
		}...)
	}
	return lines
}

func quoteLines(lines [][]string) []string {
	var out []string
	for _, words := range lines {
		for i, w := range words {
			words[i] = quote(w)
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=,.:/+", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
