package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// netns is a network namespace that nothing but this process holds, so that it
// goes, with all that is in it, when the process does, however it ends.
type netns struct {
	namespace
	file *os.File
}

func newNetNS(t testing.TB) *netns {
	t.Helper()
	needRoot(t)
	made := make(chan *os.File, 1)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		f, err := unshareNet()
		if err != nil {
			failed <- err // the thread stays locked and dies
			return
		}
		runtime.UnlockOSThread()
		made <- f
	}()
	var ns *netns
	select {
	case err := <-failed:
		t.Fatal(err)
	case f := <-made:
		t.Cleanup(func() { f.Close() })
		ns = &netns{namespace(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())), f}
	}
	ns.run(t, func() error {
		for file, value := range map[string]string{
			"ipv6/conf/all/disable_ipv6":     "1", // no chatter
			"ipv6/conf/default/disable_ipv6": "1",
			// br_netfilter, where it is loaded, trims and drops odd packets.
			"bridge/bridge-nf-call-iptables":  "0",
			"bridge/bridge-nf-call-ip6tables": "0",
			"bridge/bridge-nf-call-arptables": "0",
		} {
			err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	return ns
}

// unshareNet makes a namespace and leaves it again.
func unshareNet() (*os.File, error) {
	path := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	here, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer here.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	return f, errors.Join(err, unix.Setns(int(here.Fd()), unix.CLONE_NEWNET))
}

// run calls f in the namespace.
func (n *netns) run(t testing.TB, f func() error) {
	t.Helper()
	if err := n.do(f); err != nil {
		t.Fatal(err)
	}
}

// netlink calls f with a netlink handle of the namespace.
func (n *netns) netlink(t testing.TB, f func(*netlink.Handle) error) {
	t.Helper()
	n.run(t, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return f(h)
	})
}

// command runs a program in the namespace.
func (n *netns) command(t testing.TB, stdin string, args ...string) {
	t.Helper()
	n.run(t, func() error {
		c := exec.Command(args[0], args[1:]...)
		c.Stdin = bytes.NewBufferString(stdin)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s (make deps)", args, err, out)
		}
		return nil
	})
}

// host is a namespace with a bridge br0.
type host struct{ *netns }

const mtu = 9000 // frames of a test's own may be as large as that

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{newNetNS(t)}
	h.netlink(t, func(n *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "br0", mtu
		off := false
		if err := n.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
			return err
		}
		return up(n, "br0")
	})
	return h
}

// plug makes an interface a port of the bridge.
func (h *host) plug(n *netlink.Handle, name string) error {
	port, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	br, err := n.LinkByName("br0")
	if err != nil {
		return err
	}
	return errors.Join(n.LinkSetMTU(port, mtu), n.LinkSetMaster(port, br), n.LinkSetUp(port))
}

func up(n *netlink.Handle, name string) error {
	l, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	return n.LinkSetUp(l)
}

// connect joins two hosts' bridges by a cable with the same name on both ends.
func connect(t testing.TB, a, b *host, name string) {
	t.Helper()
	a.netlink(t, func(n *netlink.Handle) error {
		return errors.Join(veth(n, name, name, b.netns, ""), a.plug(n, name))
	})
	b.netlink(t, func(n *netlink.Handle) error { return b.plug(n, name) })
}

// veth makes a cable from this namespace into another.
func veth(n *netlink.Handle, here, there string, in *netns, mac string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = here
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: there, PeerNamespace: netlink.NsFd(in.file.Fd())}
	if mac != "" {
		v.PeerHardwareAddr, _ = net.ParseMAC(mac)
	}
	return n.LinkAdd(v)
}

// vm stands in for a virtual machine: a namespace of its own, whose one
// interface eth0 is a cable to the host's bridge. The host's end of the cable
// sees the same as a tap does.
type vm struct {
	*netns
	nic snapline.NIC
	ip  string // IPv4; the IPv6 address is fd00::ip
}

// addVM puts the n-th machine on the host.
func (h *host) addVM(t testing.TB, n int) *vm {
	t.Helper()
	m := &vm{
		netns: newNetNS(t),
		ip:    fmt.Sprintf("10.9.0.%d", n),
		nic: snapline.NIC{
			ID: "net0", Tap: fmt.Sprintf("tap%d", n), Bridge: "br0", Backend: "tap",
			MAC: fmt.Sprintf("52:54:00:00:00:%02x", n),
		},
	}
	h.netlink(t, func(n *netlink.Handle) error {
		return errors.Join(veth(n, m.nic.Tap, "eth0", m.netns, m.nic.MAC), h.plug(n, m.nic.Tap))
	})
	m.netlink(t, func(n *netlink.Handle) error {
		addr, err := netlink.ParseAddr(m.ip + "/24")
		if err != nil {
			return err
		}
		eth0, err := n.LinkByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(n.AddrAdd(eth0, addr), n.LinkSetUp(eth0), up(n, "lo"))
	})
	return m
}

// gates is the package's Gates on that host.
func (h *host) gates(t testing.TB, mode Mode) *Gates {
	t.Helper()
	g, err := New(Options{NetNS: string(h.namespace), ForceClsact: mode == Clsact})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// open opens a gate for a VM and closes it with the test.
func (h *host) open(t testing.TB, mode Mode, nics ...snapline.NIC) *Gate {
	t.Helper()
	opened, err := h.gates(t, mode).Open(context.Background(), nics, snapline.PostCodepoint)
	if err != nil {
		t.Fatal(err)
	}
	g := opened.(*Gate)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	if g.Mode() != mode {
		t.Fatalf("gate is held by %s, want %s", g.Mode(), mode)
	}
	return g
}

// attached counts what is attached to an interface: tcx programs and filters of
// anybody, and whether it has a clsact qdisc.
func (h *host) attached(t testing.TB, name string) (programs, filters int, qdisc bool) {
	t.Helper()
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			q, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: at})
			if err != nil {
				return err
			}
			programs += len(q.Programs)
		}
		qdiscs, err := n.QdiscList(l)
		if err != nil {
			return err
		}
		for _, q := range qdiscs {
			qdisc = qdisc || q.Type() == "clsact"
		}
		all, err := clsactFilters(n, l.Attrs().Index)
		filters = len(all)
		return err
	})
	return programs, filters, qdisc
}

// eventually polls until ok, for at most five seconds: nothing here takes longer
// than milliseconds unless it does not happen at all.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s did not happen", what)
		case <-tick.C:
		}
	}
}

// set sets rules as durations from now; 0 is off.
func set(t testing.TB, g snapline.Gate, mark, shield time.Duration) {
	t.Helper()
	var r snapline.GateRules
	now := bootTime(t)
	if mark > 0 {
		r.MarkUntil = now.Add(mark)
	}
	if shield > 0 {
		r.ShieldUntil = now.Add(shield)
	}
	if err := g.Set(r); err != nil {
		t.Fatal(err)
	}
}

func counters(t testing.TB, g snapline.Gate) snapline.GateCounters {
	t.Helper()
	c, err := g.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
