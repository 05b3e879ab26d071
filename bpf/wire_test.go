package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

// tap is a real tap interface of which the test is the virtual machine.
type tap struct {
	*os.File
	name string
}

// vnetHeader is struct virtio_net_hdr, which goes before every frame.
const vnetHeader = 10

func (h *host) addTap(t testing.TB, name string) *tap {
	t.Helper()
	var f *os.File
	h.netlink(t, func(n *netlink.Handle) error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		f = os.NewFile(uintptr(fd), name)
		return h.plug(n, name)
	})
	t.Cleanup(func() { f.Close() })
	return &tap{f, name}
}

// send sends a frame as the machine. linear is how many of a large frame's
// bytes the kernel is told to keep together; the others go into fragments.
func (p *tap) send(t testing.TB, frame []byte, linear int) {
	t.Helper()
	b := make([]byte, vnetHeader, vnetHeader+len(frame))
	binary.NativeEndian.PutUint16(b[2:], uint16(linear))
	if _, err := p.Write(append(b, frame...)); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next frame for the machine, nil when there is none within
// the time.
func (p *tap) receive(t testing.TB, within time.Duration) []byte {
	t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65536)
	n, err := p.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return b[vnetHeader:n]
}

// inject sends a frame out of an interface of the host, as its bridge would.
func (h *host) inject(t testing.TB, name string, frame []byte) {
	t.Helper()
	h.run(t, func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		err = unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
		if errors.Is(err, unix.ENOBUFS) {
			return nil // withheld
		}
		return err
	})
}

// TestVectorsWire sends through a real tap what the kernel's test run refuses:
// frames with cut off IP headers.
func TestVectorsWire(t *testing.T) {
	h := newHost(t)
	left, right := h.addTap(t, "left"), h.addTap(t, "right")
	now := bootTime(t)
	n := 0
	for _, v := range vectors(t, now) {
		if runnable(v.frame) {
			continue
		}
		n++
		t.Run(v.name, func(t *testing.T) {
			g := h.open(t, TCX, snapline.NIC{ID: "net0", Tap: "left"})
			if err := g.Set(v.gate.Rules); err != nil {
				t.Fatal(err)
			}
			arrival := left
			if v.out {
				arrival = right
				left.send(t, v.frame, 0)
			} else {
				h.inject(t, "left", v.frame)
			}
			var got rule.Outcome
			eventually(t, "the judgement", func() bool {
				got.Counters = counters(t, g)
				return got.Counters != snapline.GateCounters{}
			})
			within := time.Duration(0) // what is withheld has been when it was counted
			if v.want.Pass {
				within = 5 * time.Second
			}
			got.Frame = arrival.receive(t, within)
			got.Pass = got.Frame != nil
			if d := difference(v.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if n == 0 {
		t.Error("no vector was left for the wire")
	}
}

// TestFragmentedBuffer lets the machine hand over frames whose IP header lies
// outside of the socket buffer's linear part, as a guest may at any time.
func TestFragmentedBuffer(t *testing.T) {
	h := newHost(t)
	left, right := h.addTap(t, "left"), h.addTap(t, "right")
	proveFragmented(t, h, left, right)
	g := h.open(t, TCX, snapline.NIC{ID: "net0", Tap: "left"})
	set(t, g, time.Hour, 0)
	now := bootTime(t)
	for _, v := range vectors(t, now) {
		if !v.out || v.gate.Post != snapline.PostCodepoint || v.want.Counters.Marked == 0 || v.frame[12] == 0x81 || v.frame[12] == 0x88 {
			continue // tagged frames travel with one tag in the buffer's metadata
		}
		for _, linear := range []int{14, 15, 20, 33, 34, 53} {
			frame := append(v.frame[:len(v.frame):len(v.frame)], make([]byte, 6000)...) // above a page the kernel heeds linear
			want := v.gate.FromVM(frame, now)
			left.send(t, frame, linear)
			got := rule.Outcome{Pass: true, Frame: right.receive(t, 5*time.Second), Counters: want.Counters}
			if d := difference(want, got); d != "" {
				t.Fatalf("%s, %d bytes linear: %s", v.name, linear, d)
			}
		}
	}
	if c := counters(t, g); c.Marked == 0 || c.NonIP != 0 {
		t.Errorf("counters %+v", c)
	}
}

// proveFragmented makes sure that the kernel still heeds linear: a program that
// drops every frame whose IP header is not in the linear part must drop one.
func proveFragmented(t *testing.T, h *host, left, right *tap) {
	t.Helper()
	const data, end = 76, 80 // offsets in struct __sk_buff
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, 2),
			asm.LoadMem(asm.R2, asm.R1, data, asm.Word),
			asm.LoadMem(asm.R3, asm.R1, end, asm.Word),
			asm.Add.Imm(asm.R2, 34),
			asm.JGT.Reg(asm.R2, asm.R3, "exit"),
			asm.Mov.Imm(asm.R0, -1),
			asm.Return().WithSymbol("exit"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h.run(t, func() error {
		i, err := net.InterfaceByName(left.name)
		if err != nil {
			return err
		}
		tie, err := link.AttachTCX(link.TCXOptions{Interface: i.Index, Program: p, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return err
		}
		defer tie.Close()
		large := append(costFrame(1), make([]byte, 6000)...)
		left.send(t, large, 14)
		left.send(t, large, 34)
		left.send(t, costFrame(2), 0)
		for _, want := range []byte{1 << 2, 2 << 2} {
			if f := right.receive(t, 5*time.Second); f == nil || f[15] != want {
				return fmt.Errorf("arrived: %.20x", f)
			}
		}
		if f := right.receive(t, 0); f != nil {
			return fmt.Errorf("a fragmented frame was not: %.20x", f)
		}
		return nil
	})
}

// TestOffloadedTag sends tagged frames through the tap, where the kernel moves
// the outer tag from the frame into the socket buffer's metadata.
func TestOffloadedTag(t *testing.T) {
	h := newHost(t)
	left, right := h.addTap(t, "left"), h.addTap(t, "right")
	from := h.open(t, TCX, snapline.NIC{ID: "net0", Tap: "left"})
	to := h.open(t, TCX, snapline.NIC{ID: "net0", Tap: "right"})
	now := bootTime(t)
	n := 0
	for _, v := range vectors(t, now) {
		if !v.out || v.want.Counters.Marked == 0 || v.frame[12] != 0x81 && v.frame[12] != 0x88 {
			continue
		}
		n++
		t.Run(v.name, func(t *testing.T) {
			set(t, from, time.Hour, 0)
			set(t, to, 0, 0)
			left.send(t, v.frame, 0)
			got := rule.Outcome{Pass: true, Frame: right.receive(t, 5*time.Second), Counters: v.want.Counters}
			if d := difference(v.want, got); d != "" {
				t.Error(d)
			}
			before := counters(t, to).Withheld
			set(t, to, 0, time.Hour)
			left.send(t, v.frame, 0)
			eventually(t, "withholding", func() bool { return counters(t, to).Withheld == before+1 })
			if f := right.receive(t, 0); f != nil {
				t.Errorf("a withheld frame arrived: %x", f)
			}
		})
	}
	if n == 0 {
		t.Error("no tagged vector")
	}
}
