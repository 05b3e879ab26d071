package bank

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

const (
	datagram     = "datagram" // the transport
	datagramPort = "7075"
)

// serveDatagrams has to come before serveTCP: a peer begins to send when its TCP
// connection to us stands.
func (m *Member) serveDatagrams() error {
	addr, err := net.ResolveUDPAddr("udp", net.JoinHostPort(m.address, datagramPort))
	if err != nil {
		return err
	}
	if m.datagrams, err = net.ListenUDP("udp", addr); err != nil {
		return err
	}
	done := m.closeAtEnd(m.datagrams)
	m.wg.Go(func() {
		defer done()
		m.receiveDatagrams()
	})
	return nil
}

func (m *Member) receiveDatagrams() {
	buf := make([]byte, frameLen+1)
	for {
		n, from, err := m.datagrams.ReadFromUDP(buf)
		if err != nil {
			if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			m.broken("datagrams", err)
			continue
		}
		i := slices.IndexFunc(m.cfg.Peers, func(p Peer) bool { return p.Address == from.IP.String() })
		t, err := decode(buf[:n])
		if err != nil || i < 0 || m.in[datagram+" "+m.cfg.Peers[i].Name] == nil {
			continue // not from a member
		}
		m.book(m.in[datagram+" "+m.cfg.Peers[i].Name], t)
	}
}

// perInterval is how many datagrams go where one other transfer does: the more
// there are, the likelier one is under way at a given moment.
const perInterval = 4

// sendDatagrams sends each transfer once.
func (m *Member) sendDatagrams(p Peer) {
	addr, err := net.ResolveUDPAddr("udp", net.JoinHostPort(p.Address, datagramPort))
	if err != nil {
		m.broken("datagrams to "+p.Name, err)
		return
	}
	f := m.out[datagram+" "+p.Name]
	m.pace(m.cfg.Interval/perInterval, func(first bool) (sent, goOn bool) {
		if !m.isConnected(m.out["tcp "+p.Name]) {
			return false, true
		}
		t, ok := m.begin(f, first)
		if !ok {
			return false, true
		}
		if _, err := m.datagrams.WriteToUDP(t.encode(), addr); err != nil {
			m.broken("datagrams to "+p.Name, err)
			return false, false
		}
		m.connected(f)
		return true, true
	})
}

// gaps remembers which numbers of a flow have not come.
type gaps struct {
	highest uint64
	open    map[uint64]struct{}
}

// gapsMost is far more than a network holds.
const gapsMost = 100_000

// fill notes that a number has come; the error says that it cannot come now.
func (g *gaps) fill(n uint64) error {
	switch {
	case n > g.highest+gapsMost:
		return fmt.Errorf("transfer %d came after %d", n, g.highest)
	case n > g.highest:
		for i := g.highest + 1; i < n; i++ {
			if g.open == nil {
				g.open = map[uint64]struct{}{}
			}
			g.open[i] = struct{}{}
		}
		g.highest = n
		return nil
	}
	if _, ok := g.open[n]; !ok {
		return fmt.Errorf("transfer %d came twice", n)
	}
	delete(g.open, n)
	return nil
}
