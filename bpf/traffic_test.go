package bpf

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// TestStreamWhileMarked sends a TCP stream in segments far above the MTU (GSO)
// through a gate that marks, and looks at what arrives.
func TestStreamWhileMarked(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		for _, family := range []string{"tcp4", "tcp6"} {
			t.Run(string(mode)+"/"+family, func(t *testing.T) {
				h := newHost(t)
				a, b := h.addVM(t, 1), h.addVM(t, 2)
				a.enableIPv6(t)
				b.enableIPv6(t)
				g := h.open(t, mode, a.nic)
				set(t, g, time.Hour, 0)
				arrived := b.capture(t)
				stream(t, a, b, family)
				seen := arrived()
				if seen.packets == 0 || seen.unmarked > 0 {
					t.Errorf("of %d TCP packets %d arrived unmarked", seen.packets, seen.unmarked)
				}
				if seen.largest < 10_000 {
					t.Errorf("the largest packet had %d bytes: no GSO was tested", seen.largest)
				}
				if c := counters(t, g); c.Marked < uint64(seen.packets) || c.Out < c.Marked || c.In == 0 || c.Leaked+c.Withheld != 0 {
					t.Errorf("counters %+v after %d packets seen", c, seen.packets)
				}
			})
		}
	}
}

// TestSwitchesInMidStream turns rules on and off under a stream: TCP loses
// packets to the shield and heals.
func TestSwitchesInMidStream(t *testing.T) {
	h := newHost(t)
	a, b := h.addVM(t, 1), h.addVM(t, 2)
	from, to := h.open(t, TCX, a.nic), h.open(t, TCX, b.nic)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			// One round in four ticks: shield, mark, shield off, mark off.
			now := bootTime(t)
			on, off := snapline.GateRules{}, snapline.GateRules{}
			on.MarkUntil, off.ShieldUntil = now.Add(time.Second), now.Add(time.Second)
			step := []struct {
				g *Gate
				r snapline.GateRules
			}{{to, off}, {from, on}, {to, snapline.GateRules{}}, {from, snapline.GateRules{}}}[i%4]
			if err := step.g.Set(step.r); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 4 {
		stream(t, a, b, "tcp4")
	}
	close(done)
	<-stopped
	if c := counters(t, from); c.Marked == 0 {
		t.Errorf("sender's counters %+v", c)
	}
	if c := counters(t, to); c.Withheld == 0 {
		t.Errorf("receiver's counters %+v", c)
	}
}

// TestShield follows one packet after the other through all settings of the
// receiver's gate.
func TestShield(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			a, b := h.addVM(t, 1), h.addVM(t, 2)
			from, to := h.open(t, mode, a.nic), h.open(t, mode, b.nic)
			line := newLine(t, a, b)

			line.send(t, 1)
			if n := line.receive(t, 5*time.Second); n != 1 {
				t.Fatalf("rules off: got %d", n)
			}
			set(t, to, 0, time.Hour)
			line.send(t, 2)
			if n := line.receive(t, 5*time.Second); n != 2 {
				t.Fatalf("shield up, unmarked: got %d", n)
			}
			set(t, from, time.Hour, 0)
			for n := range uint64(100) { // every one is followed by a notice
				line.send(t, 3)
				select {
				case <-to.Withheld():
				case <-time.After(5 * time.Second):
					t.Fatalf("no notice of withheld packet %d", n)
				}
			}
			eventually(t, "withholding", func() bool { return counters(t, to).Withheld == 100 })
			if n := line.receive(t, 0); n != 0 {
				t.Fatalf("shield up, marked: got %d", n)
			}
			set(t, to, 0, 0)
			line.send(t, 4)
			if n := line.receive(t, 5*time.Second); n != 4 {
				t.Fatalf("shield down, marked: got %d", n)
			}
			if c := counters(t, to); c.Leaked != 1 || c.Withheld != 100 {
				t.Errorf("receiver's counters %+v", c)
			}
			if c := counters(t, from); c.Marked != 101 {
				t.Errorf("sender's counters %+v", c)
			}
		})
	}
}

// TestExpiry lets a shield end by its deadline alone.
func TestExpiry(t *testing.T) {
	h := newHost(t)
	a, b := h.addVM(t, 1), h.addVM(t, 2)
	from, to := h.open(t, TCX, a.nic), h.open(t, TCX, b.nic)
	line := newLine(t, a, b)
	line.send(t, 1) // resolves addresses
	line.receive(t, 5*time.Second)
	until := bootTime(t).Add(300 * time.Millisecond)
	if err := to.Set(snapline.GateRules{ShieldUntil: until}); err != nil {
		t.Fatal(err)
	}
	if err := from.Set(snapline.GateRules{MarkUntil: until.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "expiry", func() bool {
		line.send(t, 2)
		return line.receive(t, 5*time.Millisecond) == 2
	})
	if now := bootTime(t); now < until {
		t.Errorf("a POST packet arrived %v before the deadline", until.Sub(now))
	}
	if c := counters(t, to); c.Withheld == 0 || c.Leaked == 0 {
		t.Errorf("receiver's counters %+v", c)
	}
}

// line carries numbers from one VM to another by UDP.
type line struct{ from, to net.PacketConn }

func newLine(t *testing.T, a, b *vm) *line {
	t.Helper()
	open := func(m *vm) (c net.PacketConn) {
		m.run(t, func() (err error) {
			c, err = net.ListenPacket("udp4", m.ip+":7000")
			return err
		})
		t.Cleanup(func() { c.Close() })
		return c
	}
	return &line{open(a), open(b)}
}

func (l *line) send(t *testing.T, n byte) {
	t.Helper()
	if _, err := l.from.WriteTo([]byte{n}, l.to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next number, 0 when none comes within the time.
func (l *line) receive(t *testing.T, within time.Duration) int {
	t.Helper()
	if err := l.to.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	var b [16]byte
	n, _, err := l.to.ReadFrom(b[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0
	}
	if err != nil || n != 1 {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	return int(b[0])
}

func (m *vm) enableIPv6(t *testing.T) {
	t.Helper()
	m.netlink(t, func(n *netlink.Handle) error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("0"), 0); err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(fmt.Sprintf("fd00::%s/64", m.ip))
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		l, err := n.LinkByName("eth0")
		if err != nil {
			return err
		}
		return n.AddrAdd(l, addr)
	})
}

// stream sends 16 MiB and compares digests.
func stream(t *testing.T, from, to *vm, family string) {
	t.Helper()
	address := net.JoinHostPort(to.ip, "7001")
	if family == "tcp6" {
		address = net.JoinHostPort("fd00::"+to.ip, "7001")
	}
	var l net.Listener
	to.run(t, func() (err error) {
		l, err = net.Listen(family, address)
		return err
	})
	defer l.Close()
	type result struct {
		digest string
		err    error
	}
	got := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- result{err: err}
			return
		}
		defer c.Close()
		h := sha256.New()
		_, err = io.Copy(h, c)
		got <- result{fmt.Sprintf("%x", h.Sum(nil)), err}
	}()
	var c net.Conn
	from.run(t, func() (err error) {
		c, err = net.DialTimeout(family, l.Addr().String(), 10*time.Second)
		return err
	})
	defer c.Close()
	h := sha256.New()
	source := io.LimitReader(rand.NewChaCha8([32]byte{1}), 16<<20)
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(c, h)}, source, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if want := fmt.Sprintf("%x", h.Sum(nil)); r.err != nil || r.digest != want {
		t.Fatalf("stream: got %s, %v, want %s", r.digest, r.err, want)
	}
}

// captured is what a VM saw of the TCP packets to port 7001.
type captured struct{ packets, unmarked, largest int }

// capture counts from now until the returned function is called.
func (m *vm) capture(t *testing.T) func() captured {
	t.Helper()
	var fd int
	m.run(t, func() (err error) {
		all := bigEndian(unix.ETH_P_ALL)
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	})
	t.Cleanup(func() { unix.Close(fd) })
	return func() captured {
		var c captured
		frame := make([]byte, 1<<17)
		for {
			n, from, err := unix.Recvfrom(fd, frame, 0)
			if errors.Is(err, unix.EAGAIN) {
				return c
			}
			if err != nil {
				t.Fatal(err)
			}
			if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_HOST {
				c.add(frame[:n])
			}
		}
	}
}

func (c *captured) add(frame []byte) {
	ip := frame[14:]
	var tcp []byte
	var dscp byte
	switch {
	case binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IP && ip[9] == unix.IPPROTO_TCP:
		tcp, dscp = ip[20:], ip[1]>>2
	case binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6 && ip[6] == unix.IPPROTO_TCP:
		tcp, dscp = ip[40:], byte(binary.BigEndian.Uint16(ip)>>6&0x3f)
	}
	if len(tcp) < 4 || binary.BigEndian.Uint16(tcp[2:]) != 7001 {
		return
	}
	c.packets++
	c.largest = max(c.largest, len(frame))
	if dscp != byte(snapline.PostCodepoint) {
		c.unmarked++
	}
}
