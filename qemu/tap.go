package qemu

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"golang.org/x/sys/unix"
)

// tap is a tap device that goes away with its last open descriptor: nobody has
// to remove it when QEMU dies.
type tap struct {
	name   string
	queues []*os.File // one descriptor per queue
}

// maxName is the length of a Linux interface name (IFNAMSIZ - 1).
const maxName = unix.IFNAMSIZ - 1

// makeTaps makes a tap for each back end of the command line that needs one and
// attaches it to its bridge.
func (h *Hypervisor) makeTaps(m snapline.Member, info snapline.VMInfo) ([]*tap, error) {
	var taps []*tap
	for _, w := range wantedTaps(info) {
		t, err := h.makeTap(m, w)
		if err != nil {
			closeTaps(taps)
			return nil, fmt.Errorf("network back end %s: %w", w.id, err)
		}
		taps = append(taps, t)
	}
	return taps, nil
}

func closeTaps(taps []*tap) {
	for _, t := range taps {
		t.close()
	}
}

func (t *tap) close() {
	for _, q := range t.queues {
		q.Close()
	}
}

// wantedTap is what one back end of a command line needs.
type wantedTap struct {
	id, name, bridge string
	queues           int
	header           bool // virtio-net header on each frame
}

// wantedTaps joins the back ends of the command line with what was found of
// them when the machine was captured: by id, and where QEMU invented the id, by
// order.
func wantedTaps(info snapline.VMInfo) []wantedTap {
	var anonymous []snapline.NIC
	named := map[string]snapline.NIC{}
	for _, n := range info.NICs {
		if strings.HasPrefix(n.ID, "#") || strings.HasPrefix(n.ID, "__") {
			anonymous = append(anonymous, n)
		} else {
			named[n.ID] = n
		}
	}
	var wanted []wantedTap
	for _, b := range cmdline.Backends(cmdline.Parse(info.Args)) {
		n, ok := named[b.ID]
		if !ok && len(anonymous) > 0 {
			n, anonymous = anonymous[0], anonymous[1:]
		}
		if b.UsesTap() {
			wanted = append(wanted, wantedTap{b.ID, n.Tap, n.Bridge, b.Queues(), b.Header()})
		}
	}
	return wanted
}

// makeTap tries the captured name first, then one made of the member's.
func (h *Hypervisor) makeTap(m snapline.Member, w wantedTap) (*tap, error) {
	var t *tap
	err := h.ns.do(func() error {
		for n := 0; ; n++ {
			name := w.name
			if n > 0 || name == "" {
				name = derivedName(m, w.id, n)
			}
			var err error
			if t, err = openTap(name, w.queues, w.header); err == nil || n == 16 || !errors.Is(err, unix.EBUSY) {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if err := h.attachTap(t.name, w.bridge); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// derivedName is a name for a tap whose own is taken: short, and the same for
// the same attempt.
func derivedName(m snapline.Member, id string, attempt int) string {
	sum := fnv.New32a()
	fmt.Fprintf(sum, "%s %s %d", m.QEMU.QMP, id, attempt)
	name := fmt.Sprintf("%.6s-%08x", m.Name, sum.Sum32())
	return name[:min(len(name), maxName)]
}

// openTap creates the device in the calling thread's namespace (the kernel's
// Documentation/networking/tuntap). EBUSY: an interface of that name exists.
func openTap(name string, queues int, header bool) (*tap, error) {
	t := &tap{name: name}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if header {
		flags |= unix.IFF_VNET_HDR
	}
	if queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	for q := range queues {
		request, err := unix.NewIfreq(name)
		if err != nil {
			return nil, fmt.Errorf("tap %s: %w", name, err)
		}
		exclusive := uint16(0)
		if q == 0 {
			exclusive = unix.IFF_TUN_EXCL // never an existing one: it is somebody's
		}
		request.SetUint16(flags | exclusive)
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err == nil {
			t.queues = append(t.queues, os.NewFile(uintptr(fd), name))
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			t.close()
			return nil, fmt.Errorf("tap %s: %w", name, err)
		}
	}
	return t, nil
}

// attachTap makes the tap a port of the bridge, and leaves it down: a tap that
// is up queues what arrives for a machine that does not run yet, and it would get
// that before anything else. Its MTU is the bridge's: a smaller one would pull the
// bridge's down.
func (h *Hypervisor) attachTap(name, captured string) error {
	handle, err := h.ns.netlink()
	if err != nil {
		return err
	}
	defer handle.Close()
	port, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("tap %s: %w", name, err)
	}
	if captured != "" {
		bridge, err := handle.LinkByName(h.bridge(captured))
		if err != nil {
			return fmt.Errorf("bridge %s: %w", h.bridge(captured), err)
		}
		if err := handle.LinkSetMTU(port, bridge.Attrs().MTU); err != nil {
			return fmt.Errorf("tap %s: MTU: %w", name, err)
		}
		if err := handle.LinkSetMaster(port, bridge); err != nil {
			return fmt.Errorf("tap %s: attach to bridge %s: %w", name, bridge.Attrs().Name, err)
		}
	}
	return nil
}

// plugTaps brings taps up.
func (h *Hypervisor) plugTaps(names []string) error {
	handle, err := h.ns.netlink()
	if err != nil {
		return err
	}
	defer handle.Close()
	for _, name := range names {
		port, err := handle.LinkByName(name)
		if err == nil {
			err = handle.LinkSetUp(port)
		}
		if err != nil {
			return fmt.Errorf("tap %s: %w", name, err)
		}
	}
	return nil
}
