package qemu_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline/qemu"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var hostNumber atomic.Int32

// newHost makes a network namespace with a bridge, which stands for a host.
func newHost(t testing.TB, bridge string) string {
	t.Helper()
	needRoot(t)
	name := fmt.Sprintf("qemutest-%d-%d", os.Getpid(), hostNumber.Add(1))
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	run(t, "ip", "-n", name, "link", "add", bridge, "type", "bridge")
	run(t, "ip", "-n", name, "link", "set", bridge, "mtu", "1400", "up")
	return name
}

func run(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// links lists the interfaces of a host, with the name of their master.
func links(t testing.TB, host string) map[string]string {
	t.Helper()
	var h *netlink.Handle
	err := qemu.InNamespace(host, func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	all, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{0: ""}
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	masters := map[string]string{}
	for _, l := range all {
		masters[l.Attrs().Name] = names[l.Attrs().MasterIndex]
	}
	return masters
}

// sniffer hears every frame that arrives on a host's interfaces.
type sniffer struct{ fd int }

func sniff(t testing.TB, host string) sniffer {
	t.Helper()
	s := sniffer{-1}
	err := qemu.InNamespace(host, func() (err error) {
		all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// from counts the frames of a sender that have arrived since the last call.
func (s sniffer) from(mac string) int {
	want, _ := net.ParseMAC(mac)
	buf, n := make([]byte, 2048), 0
	for {
		size, _, err := unix.Recvfrom(s.fd, buf, 0)
		if err != nil {
			return n
		}
		if size >= 14 && string(buf[6:12]) == string(want) {
			n++
		}
	}
}

// soon is long enough for something that must not happen to happen.
func soon() <-chan time.Time { return time.After(300 * time.Millisecond) }
