package bank

import (
	"fmt"
	"io"
	"net"
	"time"
)

// nameLen is the length of the first thing on a connection: the sender's
// name, padded with NUL.
const nameLen = 64

func (m *Member) serveTCP() error {
	l, err := net.Listen("tcp", net.JoinHostPort(m.address, tcpPort))
	if err != nil {
		return err
	}
	done := m.closeAtEnd(l)
	m.wg.Go(func() {
		defer done()
		for {
			c, err := l.Accept()
			if err != nil {
				m.broken("listen", err)
				return
			}
			m.wg.Go(func() { m.receiveTCP(c) })
		}
	})
	return nil
}

// receiveTCP books what one peer sends until its connection ends, which it
// must not.
func (m *Member) receiveTCP(c net.Conn) {
	defer m.closeAtEnd(c)()
	buf := make([]byte, nameLen)
	if _, err := io.ReadFull(c, buf); err != nil {
		return // somebody who never said who he is
	}
	peer := string(trimNUL(buf))
	f := m.in["tcp "+peer]
	if f == nil {
		return
	}
	if !m.claim(f) {
		return
	}
	for buf = buf[:frameLen]; ; {
		if _, err := io.ReadFull(c, buf); err != nil {
			m.broken("tcp from "+peer+" broke", err)
			return
		}
		t, err := decode(buf)
		if err != nil {
			m.broken("tcp from "+peer, err)
			return
		}
		m.book(f, t)
	}
}

// claim gives an incoming flow its one connection; a second one is a violation.
func (m *Member) claim(f *Flow) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.Connected {
		m.violate(fmt.Errorf("tcp from %s: a second connection", f.Peer))
		return false
	}
	f.Connected = true
	return true
}

// sendTCP connects once and writes each transfer once.
func (m *Member) sendTCP(p Peer) {
	c, err := m.dial(net.JoinHostPort(p.Address, tcpPort))
	if err != nil {
		return // the member ends
	}
	defer m.closeAtEnd(c)()
	name := make([]byte, nameLen)
	copy(name, m.cfg.Name)
	if _, err := c.Write(name); err != nil {
		m.broken("tcp to "+p.Name+" broke", err)
		return
	}
	// The peer sends nothing, so a read returns when the connection ends.
	m.wg.Go(func() {
		_, err := c.Read(make([]byte, 1))
		m.broken("tcp to "+p.Name+" broke", err)
	})
	f := m.out["tcp "+p.Name]
	m.connected(f)
	m.pace(m.cfg.Interval, func(first bool) (sent bool, goOn bool) {
		t, ok := m.begin(f, first)
		if !ok {
			return false, true
		}
		// An error has been noted by the reader.
		_, err := c.Write(t.encode())
		return true, err == nil
	})
}

// pace calls step once in each interval until it says no or the member ends. first
// tells the step that the one before did not send.
func (m *Member) pace(interval time.Duration, step func(first bool) (sent, goOn bool)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	sent, goOn := false, true
	for goOn {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
			sent, goOn = step(!sent)
		}
	}
}

// dial tries until the peer listens; the error means that the member ends.
func (m *Member) dial(address string) (net.Conn, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var d net.Dialer
		c, err := d.DialContext(m.ctx, "tcp", address)
		if err == nil {
			return c, nil
		}
		select {
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		case <-tick.C:
		}
	}
}

func trimNUL(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}
