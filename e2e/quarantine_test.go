package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/node"
)

// What is sent to a member while it is restored.
const (
	ofOldTimeline = 'o' // in the name of another member, unmarked
	ofOldRound    = 'p' // likewise, marked POST
	ofRestored    = 'r' // likewise, marked RESTORED
	ofStranger    = 's' // in nobody's name, unmarked
)

const pastMagic = "of another time\x00"

// past sends packets to a member in the name of another one, without an end, and
// sees which of them get onto a tap of its host.
type past struct {
	mu   sync.Mutex
	seen []pastPacket
	stop func()
}

type pastPacket struct {
	kind byte
	sent snapline.Instant
	tap  int // index of the interface
}

// pastTo sends from the switch down the cable to a host, so that no bridge learns
// a wrong place for the sender's address.
func (s *site) pastTo(t *testing.T, host string, from, to lab.VM) *past {
	t.Helper()
	p := &past{}
	var frames []func() []byte
	for _, kind := range []byte{ofOldTimeline, ofOldRound, ofRestored, ofStranger} {
		frames = append(frames, func() []byte { return pastFrame(kind, from, to) })
	}
	out := packetSocket(t, s.Switch().Do, "p"+host[1:])
	in := packetSocket(t, s.Place(host).Do, "")
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := out.Write(frames[i%len(frames)]()); err != nil && !errors.Is(err, unix.ENOBUFS) {
				t.Errorf("send: %v", err)
			}
			<-tick.C
		}
	})
	both.Go(func() { p.listen(in) })
	p.stop = sync.OnceFunc(func() {
		cancel()
		in.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // what is under way
		both.Wait()
		out.Close()
		in.Close()
	})
	t.Cleanup(p.stop)
	return p
}

// packetSocket is on one interface of a namespace, or on all.
func packetSocket(t *testing.T, in func(func() error) error, name string) *os.File {
	t.Helper()
	var f *os.File
	err := in(func() error {
		all := binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(binary.NativeEndian.Uint16(all)))
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "packets")
		if name == "" {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		}
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(all), Ifindex: i.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// listen notes what leaves the host's interfaces: a tap's fence comes before.
func (p *past) listen(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 1<<16)
	for {
		var n int
		var from unix.Sockaddr
		var readErr error
		if err := raw.Read(func(fd uintptr) bool {
			n, from, readErr = unix.Recvfrom(int(fd), b, 0)
			return !errors.Is(readErr, unix.EAGAIN)
		}); err != nil || readErr != nil {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		at := bytes.Index(b[:n], []byte(pastMagic))
		if !ok || ll.Pkttype != unix.PACKET_OUTGOING || at < 0 || n < at+len(pastMagic)+9 {
			continue
		}
		rest := b[at+len(pastMagic):]
		p.mu.Lock()
		p.seen = append(p.seen, pastPacket{rest[0], snapline.Instant(binary.BigEndian.Uint64(rest[1:])), ll.Ifindex})
		p.mu.Unlock()
	}
}

// pastFrame is UDP to the discard port, without a checksum.
func pastFrame(kind byte, from, to lab.VM) []byte {
	source, _ := net.ParseMAC(from.MAC)
	destination, _ := net.ParseMAC(to.MAC)
	address := net.ParseIP(from.Address).To4()
	if kind == ofStranger {
		source[5], address = 0xee, net.IPv4(10, 77, 0, 200).To4()
	}
	colour := map[byte]snapline.Codepoint{ofOldRound: snapline.PostCodepoint, ofRestored: snapline.RestoredCodepoint}[kind]
	payload := append([]byte(pastMagic), kind)
	payload = binary.BigEndian.AppendUint64(payload, uint64(node.BootClock{}.Now()))
	f := append(append(append([]byte{}, destination...), source...), 8, 0)
	ip := []byte{0x45, byte(colour) << 2, 0, byte(28 + len(payload)), 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, address...), net.ParseIP(to.Address).To4()...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	udp := []byte{0, 9, 0, 9, 0, byte(8 + len(payload)), 0, 0}
	return append(append(append(f, ip...), udp...), payload...)
}

// fenceOf is a member's fence on a host; nil when it has none.
func (s *site) fenceOf(t *testing.T, host, member string) snapline.Fence {
	t.Helper()
	g, err := bpf.New(bpf.Options{NetNS: "/run/netns/" + string(s.Place(host))})
	if err != nil {
		t.Fatal(err)
	}
	all, err := g.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found snapline.Fence
	for _, f := range all {
		if string(f.Owner().Member.Name) == member {
			found = f
			t.Cleanup(func() { f.Close() })
			continue
		}
		f.Close()
	}
	return found
}

// tapsOf are the indexes of a host's taps.
func (s *site) tapsOf(t *testing.T, host string) map[int]bool {
	t.Helper()
	all := map[int]bool{}
	if err := s.Place(host).Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Type() == "tuntap" {
				all[l.Attrs().Index] = true
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// keepsPastOut restores, on real machines, while packets of the old timeline keep
// coming: to n2, which goes to h2, in the name of n1, which goes to another host.
func (s *site) keepsPastOut(t *testing.T, restore func()) {
	t.Helper()
	const host = "h2"
	n1, err := s.VM("n1")
	if err != nil {
		t.Fatal(err)
	}
	n2, err := s.VM("n2")
	if err != nil {
		t.Fatal(err)
	}
	before := s.tapsOf(t, host)
	p := s.pastTo(t, host, n1, n2)
	restore()
	fence := s.fenceOf(t, host, "n2")
	if fence == nil {
		t.Fatal("no fence stands before n2 right after the restore")
	}
	rules, err := fence.Rules()
	if err != nil {
		t.Fatal(err)
	}
	taps := s.tapsOf(t, host)
	// The old timeline's packets get through once they are none any more: nobody is
	// left deaf.
	passes := func(kind byte, from, to snapline.Instant) (n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, one := range p.seen {
			if taps[one.tap] && !before[one.tap] && one.kind == kind && one.sent >= from && one.sent < to {
				n++
			}
		}
		return n
	}
	await(t, snapline.DefaultQuarantine+10*time.Second, "packets of all kinds after the quarantine", func(context.Context) error {
		if passes(ofOldTimeline, rules.RefuseUntil, snapline.Always) == 0 || passes(ofOldRound, rules.RefuseUntil, snapline.Always) == 0 {
			return fmt.Errorf("none yet; rules %+v, now %d", rules, node.BootClock{}.Now())
		}
		return nil
	})
	p.stop()
	end := rules.RefuseUntil.Add(-100 * time.Millisecond) // what is under way then may come after it
	for kind, want := range map[byte]bool{ofOldTimeline: false, ofOldRound: false, ofRestored: true, ofStranger: true} {
		n := passes(kind, snapline.Never, end)
		t.Logf("%c: %d packets reached n2 in quarantine, %d later", kind, n, passes(kind, end, snapline.Always))
		if (n > 0) != want {
			t.Errorf("%d packets of kind %c reached n2 in quarantine", n, kind)
		}
	}
}
