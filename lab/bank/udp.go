package bank

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// repeatAfter is how long a sender waits for an acknowledgement.
const repeatAfter = 250 * time.Millisecond

func (m *Member) serveUDP() error {
	addr, err := net.ResolveUDPAddr("udp", net.JoinHostPort(m.address, udpPort))
	if err != nil {
		return err
	}
	if m.udp, err = net.ListenUDP("udp", addr); err != nil {
		return err
	}
	done := m.closeAtEnd(m.udp)
	m.wg.Go(func() {
		defer done()
		m.receiveUDP()
	})
	return nil
}

// receiveUDP books and acknowledges transfers, and hands acknowledgements to
// the flows that wait for them.
func (m *Member) receiveUDP() {
	buf := make([]byte, frameLen+1)
	for {
		n, from, err := m.udp.ReadFromUDP(buf)
		if err != nil {
			if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue // ICMP: a peer that has not started yet
		}
		i := slices.IndexFunc(m.cfg.Peers, func(p Peer) bool { return p.Address == from.IP.String() })
		t, err := decode(buf[:n])
		if err != nil || i < 0 {
			continue // not from a member
		}
		peer := m.cfg.Peers[i].Name
		switch {
		case m.in["udp "+peer] == nil:
		case t.Kind == kindAck:
			m.acknowledged(peer, t.Seq)
		case m.book(m.in["udp "+peer], t):
			ack := transfer{Kind: kindAck, Seq: t.Seq}
			// A lost acknowledgement is asked for again by a repetition.
			_, _ = m.udp.WriteToUDP(ack.encode(), from)
		}
	}
}

// acknowledged checks that what was acknowledged had been sent, and wakes the
// sender.
func (m *Member) acknowledged(peer string, seq uint64) {
	m.mu.Lock()
	sent := m.out["udp "+peer].Transfers
	if seq > sent {
		m.violate(fmt.Errorf("udp to %s: transfer %d acknowledged, only %d sent", peer, seq, sent))
	}
	m.mu.Unlock()
	select {
	case m.acks[peer] <- seq:
	default: // a repetition of what is waiting there
	}
}

// sendUDP sends one transfer after the other, each until it is acknowledged.
func (m *Member) sendUDP(p Peer) {
	addr, err := net.ResolveUDPAddr("udp", net.JoinHostPort(p.Address, udpPort))
	if err != nil {
		m.broken("udp to "+p.Name, err)
		return
	}
	f := m.out["udp "+p.Name]
	m.pace(m.cfg.Interval, func(first bool) (sent, goOn bool) {
		t, ok := m.begin(f, first)
		if !ok {
			return false, true
		}
		return true, m.deliver(f, t, addr)
	})
}

// deliver repeats a transfer until its acknowledgement comes; false when the
// member ends before.
func (m *Member) deliver(f *Flow, t transfer, to *net.UDPAddr) bool {
	frame := t.encode()
	// Sending fails while the peer's port is closed; repeating cures it.
	_, _ = m.udp.WriteToUDP(frame, to)
	repeat := time.NewTicker(repeatAfter)
	defer repeat.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return false
		case seq := <-m.acks[f.Peer]:
			if seq == t.Seq {
				m.connected(f)
				return true
			}
		case <-repeat.C:
			m.mu.Lock()
			f.Repeated++
			m.mu.Unlock()
			_, _ = m.udp.WriteToUDP(frame, to)
		}
	}
}
