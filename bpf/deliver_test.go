package bpf

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

func newGates(t *testing.T, h *host) *Gates {
	t.Helper()
	g, err := New(Options{NetNS: string(h.namespace)})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestDeliver gives a machine a packet once more that it has had before.
func TestDeliver(t *testing.T) {
	h := newHost(t)
	a, b := h.addVM(t, 1), h.addVM(t, 2)
	gate, gates := h.open(t, TCX, b.nic), newGates(t, h)
	line := newLine(t, a, b)
	line.send(t, 1)
	line.receive(t, 5*time.Second)
	record(t, gate)
	set(t, gate, time.Hour, 0)
	line.send(t, 2)
	line.receive(t, 5*time.Second)
	set(t, gate, 0, 0)
	var frames [][]byte
	for _, f := range recorded(t, gate).Frames {
		if len(f.Data) >= 43 && f.Data[23] == unix.IPPROTO_UDP {
			f.Data[40], f.Data[41] = 0, 0 // no checksum: theirs was left to each other
			frames = append(frames, f.Data)
		}
	}
	if len(frames) != 1 {
		t.Fatalf("kept %d frames", len(frames))
	}
	in := counters(t, gate).In
	if err := gates.Deliver(t.Context(), []snapline.NIC{b.nic}, [][]byte{frames[0], frames[0]}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n := line.receive(t, 5*time.Second); n != 2 {
			t.Errorf("received %d", n)
		}
	}
	if now := counters(t, gate).In; now < in+2 {
		t.Errorf("%d packets passed the gate, %d before", now, in)
	}

	// A fence in quarantine refuses that packet, but not from us.
	fence, err := h.gates(t, TCX).Raise(t.Context(), snapline.FenceSpec{NICs: []snapline.NIC{b.nic}, Restored: snapline.RestoredCodepoint,
		Rules: snapline.FenceRules{OpenUntil: snapline.Always, RefuseUntil: snapline.Always}, Members: snapline.MemberAddresses{MACs: []string{a.nic.MAC}}})
	if err != nil {
		t.Fatal(err)
	}
	defer fence.Lower()
	h.inject(t, b.nic.Tap, frames[0])
	if c, err := fence.Counters(); err != nil || c.Refused != 1 {
		t.Errorf("fence's counters %+v, %v", c, err)
	}
	if err := gates.Deliver(t.Context(), []snapline.NIC{b.nic}, frames); err != nil {
		t.Fatal(err)
	}
	if n := line.receive(t, 5*time.Second); n != 2 {
		t.Errorf("received %d through a fence", n)
	}

	for name, c := range map[string]struct {
		nics  []snapline.NIC
		frame []byte
		want  string
	}{
		"no such tap":        {[]snapline.NIC{{ID: "net0", Tap: "nosuch"}}, frames[0], "nosuch"},
		"half a frame":       {[]snapline.NIC{b.nic}, frames[0][:9], "no frame"},
		"for neither of two": {[]snapline.NIC{a.nic, b.nic}, append(bytes.Repeat([]byte{0xff}, 6), frames[0][6:]...), "ff:ff"},
		"larger than an MTU": {[]snapline.NIC{b.nic}, append(bytes.Clone(frames[0]), make([]byte, mtu)...), "message too long"},
	} {
		if err := gates.Deliver(t.Context(), c.nics, [][]byte{c.frame}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnnounce has the bridge, and the switch behind it, look for a machine at its
// new place, although it has not sent anything there.
func TestAnnounce(t *testing.T) {
	old, new, far := newHost(t), newHost(t), newHost(t)
	connect(t, old, far, "cable1")
	connect(t, new, far, "cable2")
	was, is := old.addVM(t, 1), new.addVM(t, 1) // the same address
	other := new.addVM(t, 2)
	line := newLine(t, was, other) // every bridge learns where it was
	line.send(t, 1)
	line.receive(t, 5*time.Second)
	if err := newGates(t, new).Announce(t.Context(), []snapline.NIC{is.nic, {ID: "alone", Tap: other.nic.Tap, MAC: other.nic.MAC}}); err != nil {
		t.Fatal(err)
	}
	mac, err := net.ParseMAC(is.nic.MAC)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		h    *host
		port string
	}{"its bridge": {new, is.nic.Tap}, "the switch": {far, "cable2"}} {
		eventually(t, name+" looks for it at its new place", func() bool {
			found := false
			c.h.netlink(t, func(n *netlink.Handle) error {
				port, err := n.LinkByName(c.port)
				if err != nil {
					return err
				}
				all, err := n.NeighList(port.Attrs().Index, unix.AF_BRIDGE)
				for _, e := range all {
					found = found || bytes.Equal(e.HardwareAddr, mac) && e.State&netlink.NUD_PERMANENT == 0
				}
				return err
			})
			return found
		})
	}
}

// TestDepth lets a frame wait in a real tap's queue: what waits is in no state.
func TestDepth(t *testing.T) {
	h := newHost(t)
	nic := snapline.NIC{ID: "net0", Tap: "tap9", Bridge: "br0", MAC: "52:54:00:00:00:09", Reader: os.Getpid()}
	tap := h.openTap(t, nic.Tap)
	g := h.open(t, TCX, nic)
	record(t, g)
	d := g.recorder.depth
	look := func() int64 {
		s, err := d.look()
		if err != nil {
			t.Fatal(err)
		}
		return s.waiting
	}
	empty := look()
	frame := append([]byte{0x52, 0x54, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x06}, make([]byte, 46)...)
	delivered := make(chan error, 1)
	go func() { delivered <- newGates(t, h).Deliver(t.Context(), []snapline.NIC{nic}, [][]byte{frame}) }()
	eventually(t, "it waits", func() bool { return look() == empty+1 })
	waited := bootTime(t)
	select {
	case err := <-delivered:
		t.Fatalf("delivered, and nobody has read it: %v", err)
	default:
	}
	eventually(t, "the watcher has looked", func() bool { return bootTime(t) > waited.Add(4*depthPace) })
	until := bootTime(t)
	if n, err := tap.Read(make([]byte, 2048)); err != nil || n != len(frame) {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if err := <-delivered; err != nil {
		t.Fatal(err)
	}
	if look() != empty {
		t.Errorf("%d wait after all were read", look()-empty)
	}
	read := bootTime(t)
	all := recorded(t, g).Drained
	if len(all) == 0 || all[len(all)-1] < read {
		t.Fatalf("not empty since %v: %v", read, all)
	}
	for _, at := range all {
		if at >= waited && at <= until {
			t.Errorf("empty at %v, when it waited", at)
		}
	}

	// Nobody reads: whoever waits for it may give up.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := newGates(t, h).Deliver(ctx, []snapline.NIC{nic}, [][]byte{frame}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody reads: %v", err)
	}
}

// TestDepthNeverEmpty has a frame wait since before the gate was there, as in a
// flood: that the queue grows no shorter says nothing.
func TestDepthNeverEmpty(t *testing.T) {
	h := newHost(t)
	nic := snapline.NIC{ID: "net0", Tap: "tap9", Bridge: "br0", MAC: "52:54:00:00:00:09", Reader: os.Getpid()}
	tap := h.openTap(t, nic.Tap)
	frame := append([]byte{0x52, 0x54, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x06}, make([]byte, 46)...)
	var delivering sync.WaitGroup
	delivering.Go(func() {
		if err := newGates(t, h).Deliver(t.Context(), []snapline.NIC{nic}, [][]byte{frame}); err != nil {
			t.Error(err)
		}
	})
	q, err := openQueues(nic.Reader, nic.Tap)
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	eventually(t, "it waits", func() bool {
		empty, err := q.empty()
		return err == nil && !empty
	})
	g := h.open(t, TCX, nic)
	record(t, g)
	begun := bootTime(t)
	eventually(t, "the watcher has looked", func() bool { return bootTime(t) > begun.Add(4*depthPace) })
	if all := recorded(t, g).Drained; len(all) > 0 {
		t.Errorf("empty at %v, when one waited", all)
	}
	if _, err := tap.Read(make([]byte, 2048)); err != nil {
		t.Fatal(err)
	}
	delivering.Wait()

	// Of a reader that is not known nothing is claimed, and all else is recorded.
	nic.Reader = 0
	g2 := h.open(t, TCX, nic)
	record(t, g2)
	if all := recorded(t, g2).Drained; len(all) > 0 {
		t.Errorf("empty at %v, and nobody could know", all)
	}
}

// openTap makes a tap on the bridge whose frames the test reads itself.
func (h *host) openTap(t *testing.T, name string) *os.File {
	t.Helper()
	var f *os.File
	h.run(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "/dev/net/tun")
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	})
	t.Cleanup(func() { f.Close() })
	h.netlink(t, func(n *netlink.Handle) error { return h.plug(n, name) })
	return f
}

func TestDrained(t *testing.T) {
	if got := drained(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	got := drained([]sample{{1, true, -5}, {2, true, -4}, {3, true, -5}, {4, false, 7}, {5, false, -5}})
	if len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("%v", got)
	}
	if got := drained([]sample{{1, false, 3}, {2, false, 3}}); got != nil {
		t.Errorf("of a queue that was never empty: %v", got)
	}
}
