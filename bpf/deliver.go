package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Deliver goes on when the hypervisor has read what it was given: a tap's queue
// has room for 500 frames at least, and other frames come in between.
const (
	deliverBurst    = 32
	deliverPatience = 10 * time.Second // a stopped VM reads nothing
	deliverPace     = time.Millisecond
)

// Deliver implements snapline.Gates. Frames are transmitted on the tap, where those
// of the bridge come by too.
func (g *Gates) Deliver(ctx context.Context, nics []snapline.NIC, frames [][]byte) error {
	if len(frames) == 0 {
		return nil
	}
	return g.ns.do(func() error {
		ports, err := findPorts(nics)
		if err != nil {
			return fmt.Errorf("deliver packets: %w", err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("deliver packets: open netlink: %w", err)
		}
		defer h.Close()
		fd, err := packetSocket()
		if err != nil {
			return fmt.Errorf("deliver packets: %w", err)
		}
		defer unix.Close(fd)
		// A fence would take these packets for what they look like: a member's of the
		// old timeline.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, deliveredMark); err != nil {
			return fmt.Errorf("deliver packets: mark them: %w", err)
		}
		d := delivery{h: h, fd: fd, ports: ports}
		if d.before, err = d.count(); err != nil {
			return fmt.Errorf("deliver packets: %w", err)
		}
		for i, f := range frames {
			if err := d.deliver(ctx, f, i == len(frames)-1); err != nil {
				return fmt.Errorf("deliver packet %d of %d: %w", i+1, len(frames), err)
			}
		}
		return nil
	})
}

// deliveredMark is DELIVERED of fence.c: a mark of the socket buffer (SO_MARK), which
// never leaves the host.
const deliveredMark = 0x736e6170

type delivery struct {
	h      *netlink.Handle
	fd     int
	ports  []port
	before taken
	sent   uint64
}

// taken is what became of frames on their way to the VM.
type taken struct{ read, dropped uint64 }

func (d *delivery) count() (taken, error) {
	var t taken
	for _, p := range d.ports {
		l, err := d.h.LinkByIndex(p.index)
		if err != nil {
			return t, fmt.Errorf("look at %s: %w", p.nic.Tap, err)
		}
		if st := l.Attrs().Statistics; st != nil {
			t.read += st.TxPackets
			t.dropped += st.TxDropped
		}
	}
	return t, nil
}

func (d *delivery) deliver(ctx context.Context, frame []byte, last bool) error {
	p, err := d.portOf(frame)
	if err != nil {
		return err
	}
	at := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: p.index}
	if err := unix.Sendto(d.fd, frame, 0, at); err != nil {
		return fmt.Errorf("%d bytes by %s: %w", len(frame), p.nic.Tap, err)
	}
	if d.sent++; d.sent%deliverBurst != 0 && !last {
		return nil
	}
	return d.awaitRead(ctx)
}

// awaitRead waits until the hypervisor has read as many frames as were sent.
func (d *delivery) awaitRead(ctx context.Context) error {
	late := time.After(deliverPatience)
	tick := time.NewTicker(deliverPace)
	defer tick.Stop()
	for {
		now, err := d.count()
		if err != nil {
			return err
		}
		if now.dropped > d.before.dropped {
			return errors.New("the virtual machine's queue overflowed")
		}
		if now.read-d.before.read >= d.sent {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("the virtual machine has not read it within %v", deliverPatience)
		case <-tick.C:
		}
	}
}

// portOf finds the NIC that a frame is for.
func (d *delivery) portOf(frame []byte) (port, error) {
	if len(frame) < 14 {
		return port{}, fmt.Errorf("%d bytes are no frame", len(frame))
	}
	for _, p := range d.ports {
		if mac, err := parseMAC(p.nic.MAC); err == nil && bytes.Equal(mac, frame[:6]) {
			return p, nil
		}
	}
	if len(d.ports) == 1 { // to a group, or to whatever address the guest has taken
		return d.ports[0], nil
	}
	return port{}, fmt.Errorf("no NIC has its destination %s", net.HardwareAddr(frame[:6]))
}

// Announce implements snapline.Gates: the bridge is told by netlink, the switches
// behind it by a reverse ARP request (RFC 903), as QEMU sends them. NICs on no
// bridge are left out.
func (g *Gates) Announce(ctx context.Context, nics []snapline.NIC) error {
	return g.ns.do(func() error {
		ports, err := findPorts(nics)
		if err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("announce: open netlink: %w", err)
		}
		defer h.Close()
		fd, err := packetSocket()
		if err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		defer unix.Close(fd)
		for _, p := range ports {
			if err := ctx.Err(); err != nil {
				return err
			}
			if p.nic.Bridge == "" {
				continue
			}
			if err := announce(h, fd, p); err != nil {
				return fmt.Errorf("announce NIC %s on %s: %w", p.nic.ID, p.nic.Bridge, err)
			}
		}
		return nil
	})
}

func announce(h *netlink.Handle, fd int, p port) error {
	mac, err := parseMAC(p.nic.MAC)
	if err != nil {
		return err
	}
	bridge, err := net.InterfaceByName(p.nic.Bridge)
	if err != nil {
		return err
	}
	// It may still look for the VM where it was before. Reachable: learned, to be
	// forgotten in time.
	n := &netlink.Neigh{LinkIndex: p.index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_MASTER, State: netlink.NUD_REACHABLE, HardwareAddr: mac}
	if err := h.NeighSet(n); err != nil {
		return fmt.Errorf("enter %s: %w", mac, err)
	}
	at := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_RARP), Ifindex: bridge.Index}
	return unix.Sendto(fd, reverseRequest(mac), 0, at)
}

func reverseRequest(mac net.HardwareAddr) []byte {
	f := bytes.Repeat([]byte{0xff}, 6)
	f = append(f, mac...)
	f = append(f, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3) // Ethernet, IPv4, reverse request
	f = append(f, mac...)
	f = append(f, 0, 0, 0, 0)
	f = append(f, mac...)
	return append(f, make([]byte, probeLen-len(f))...)
}

// packetSocket opens one that only sends: its protocol is 0.
func packetSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	return fd, nil
}
