package bpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// A probe is an untagged Ethernet frame of the minimum size with an IPv4 packet
// in it that no host answers: protocol 253 (RFC 3692, experiments), TTL 1,
// link-local addresses. It enters the network at the bridge that the VM's tap
// is a port of. Its payload, in network byte order:
//
//	0  8  "snapline"
//	8  8  nonce of the round
//	16 4  number of the sender
//	20 6  zero
const (
	probeMagic    = "snapline"
	probeProtocol = 253
	probeLen      = 60 // the shortest Ethernet frame, without its check sequence
)

// Probe sends one probe from each of the gate's NICs to each target, a MAC
// address in any form that net.ParseMAC knows. It fails when a NIC is on no
// bridge or the bridge is down; a probe lost on its way is no error.
func (g *Gate) Probe(ctx context.Context, nonce uint64, sender uint32, targets []string) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return fmt.Errorf("send probes: %w", os.ErrClosed)
	}
	to := make([]net.HardwareAddr, len(targets))
	for i, t := range targets {
		mac, err := parseMAC(t)
		if err != nil {
			return fmt.Errorf("send probes: target: %w", err)
		}
		to[i] = mac
	}
	return g.ns.do(func() error {
		for _, p := range g.ports {
			if err := sendProbes(ctx, p.nic, g.post, nonce, sender, to); err != nil {
				return fmt.Errorf("send probes from NIC %s (%s): %w", p.nic.ID, p.nic.Tap, err)
			}
		}
		return nil
	})
}

// Probes returns the codepoint that each sender's probe with that nonce had when
// it arrived here. When several arrived from one sender, a codepoint other than
// the mark wins.
func (g *Gate) Probes(nonce uint64) (map[uint32]snapline.Codepoint, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return nil, fmt.Errorf("read probes: %w", os.ErrClosed)
	}
	seen := make(map[uint32]snapline.Codepoint)
	var key gateProbe
	var c uint32
	all := g.objs.Probes.Iterate()
	for all.Next(&key, &c) {
		if key.Nonce == nonce {
			seen[key.Sender] = snapline.Codepoint(c)
		}
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("read probes: %w", err)
	}
	return seen, nil
}

// sendProbes sends in the current network namespace.
func sendProbes(ctx context.Context, nic snapline.NIC, post snapline.Codepoint, nonce uint64, sender uint32, to []net.HardwareAddr) error {
	if nic.Bridge == "" {
		return errors.New("its tap is a port of no bridge, so the paths of its packets cannot be probed")
	}
	from, err := parseMAC(nic.MAC)
	if err != nil {
		return err
	}
	bridge, err := net.InterfaceByName(nic.Bridge)
	if err != nil {
		return fmt.Errorf("look up bridge %s: %w", nic.Bridge, err)
	}
	fd, err := packetSocket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, mac := range to {
		if err := ctx.Err(); err != nil {
			return err
		}
		frame := probeFrame(from, mac, post, nonce, sender)
		at := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_IP), Ifindex: bridge.Index}
		if err := unix.Sendto(fd, frame, 0, at); err != nil {
			return fmt.Errorf("send to %s by bridge %s: %w", mac, nic.Bridge, err)
		}
	}
	return nil
}

func probeFrame(from, to net.HardwareAddr, post snapline.Codepoint, nonce uint64, sender uint32) []byte {
	f := make([]byte, probeLen)
	copy(f, to)
	copy(f[6:], from)
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_IP)

	ip := f[14:]
	ip[0] = 0x45
	ip[1] = byte(post) << 2
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8] = 1
	ip[9] = probeProtocol
	copy(ip[12:], []byte{169, 254, 0, 1})
	copy(ip[16:], []byte{169, 254, 0, 2})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))

	payload := ip[20:]
	copy(payload, probeMagic)
	binary.BigEndian.PutUint64(payload[8:], nonce)
	binary.BigEndian.PutUint32(payload[16:], sender)
	return f
}

// parseMAC accepts only the six bytes of Ethernet; net.ParseMAC knows longer
// addresses.
func parseMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil {
		return nil, err
	}
	if len(mac) != 6 {
		return nil, fmt.Errorf("address %s is not of Ethernet", s)
	}
	return mac, nil
}

// bigEndian returns v such that its bytes in memory are in network byte order.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
