package bank

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
)

// loopback returns an address of 127.0.0.0/8 that this test process has to
// itself.
func loopback(i int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&0x7f, pid>>8&0xff, i+1+(pid&0x1f)*8)
}

// fault decides what becomes of one frame: what is passed on instead of it, or
// nothing at all. An error ends a TCP connection.
type fault func(transport, from string, frame []byte) ([][]byte, error)

func passOn(_, _ string, frame []byte) ([][]byte, error) { return [][]byte{frame}, nil }

// middleman stands between n1 and n2: each takes it for the other.
type middleman struct {
	t       *testing.T
	address string
	real    map[string]string // by name
	udp     *net.UDPConn
	wg      sync.WaitGroup

	mu    sync.Mutex
	fault fault
	conns []net.Conn
}

func newMiddleman(t *testing.T, address string, real map[string]string) *middleman {
	m := &middleman{t: t, address: address, real: real, fault: passOn}
	l, err := net.Listen("tcp", net.JoinHostPort(address, tcpPort))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveUDPAddr("udp", net.JoinHostPort(address, udpPort))
	if err != nil {
		t.Fatal(err)
	}
	if m.udp, err = net.ListenUDP("udp", addr); err != nil {
		t.Fatal(err)
	}
	m.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.wg.Go(func() { m.relayTCP(c) })
		}
	})
	m.wg.Go(m.relayUDP)
	t.Cleanup(func() {
		l.Close()
		m.udp.Close()
		m.cut()
		m.wg.Wait()
	})
	return m
}

// set changes what happens to frames from now on.
func (m *middleman) set(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// cut closes all TCP connections.
func (m *middleman) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Close()
	}
	m.conns = nil
}

func (m *middleman) apply(transport, from string, frame []byte) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault(transport, from, append([]byte(nil), frame...))
}

func (m *middleman) keep(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, c)
}

func other(name string) string { return map[string]string{"n1": "n2", "n2": "n1"}[name] }

func (m *middleman) relayTCP(c net.Conn) {
	defer c.Close()
	m.keep(c)
	hello := make([]byte, nameLen)
	if _, err := io.ReadFull(c, hello); err != nil {
		return
	}
	from := string(trimNUL(hello))
	d, err := net.Dial("tcp", net.JoinHostPort(m.real[other(from)], tcpPort))
	if err != nil {
		return // not started yet: the sender sees its connection end
	}
	defer d.Close()
	m.keep(d)
	d.Write(hello)
	for frame := make([]byte, frameLen); ; {
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		frames, err := m.apply("tcp", from, frame)
		if err != nil {
			return
		}
		for _, f := range frames {
			d.Write(f)
		}
	}
}

func (m *middleman) relayUDP() {
	for buf := make([]byte, 100); ; {
		n, src, err := m.udp.ReadFromUDP(buf)
		if err != nil {
			if _, open := m.udp.SyscallConn(); open != nil {
				return
			}
			if opErr, ok := err.(*net.OpError); ok && opErr.Err == net.ErrClosed {
				return
			}
			continue
		}
		from := "n1"
		if src.IP.String() == m.real["n2"] {
			from = "n2"
		}
		frames, _ := m.apply("udp", from, buf[:n])
		to, err := net.ResolveUDPAddr("udp", net.JoinHostPort(m.real[other(from)], udpPort))
		if err != nil {
			m.t.Error(err)
			return
		}
		for _, f := range frames {
			m.udp.WriteToUDP(f, to)
		}
	}
}
