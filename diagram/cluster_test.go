package diagram

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// cluster is a group that talks while its cut is made, with all of it on one
// true time. What it yields is what gates would have recorded on the hosts' clocks.
type cluster struct {
	members, packets int
	noShield         bool // at the last member, which cuts late
}

const (
	microsecond = int64(1000)
	millisecond = 1000 * microsecond
	length      = 60 * millisecond
)

func (c cluster) diagram() *evidence.Diagram {
	r := rand.New(rand.NewPCG(uint64(c.members), uint64(c.packets)))
	n := c.members
	group, traces, offset := make([]evidence.Member, n), make([]snapline.Trace, n), make([]snapline.Instant, n)
	clock := func(m int, at int64) snapline.Instant { return offset[m] + snapline.Instant(at) }
	for i := range traces {
		host := i * (n + 1) / 2 / n
		offset[i] = snapline.Instant(host+1) * 1e15
		name := snapline.MemberName(fmt.Sprintf("etcd-%d", i+1))
		began := 28*millisecond + r.Int64N(3*millisecond)
		if c.noShield && i == n-1 {
			began += 4 * millisecond
		}
		group[i].Name = name
		traces[i] = snapline.Trace{Member: name, Host: snapline.HostName(fmt.Sprintf("host-%d", host+1)),
			CutBegan: clock(i, began), CutEnded: clock(i, began+300*microsecond+r.Int64N(400*microsecond))}
		traces[i].Paused = traces[i].CutBegan + snapline.Instant(20*microsecond)
		traces[i].Resumed = traces[i].CutEnded + snapline.Instant(900*microsecond)
	}
	sequence := make([]uint32, n*n)
	for i := range c.packets {
		from := r.IntN(n)
		to := (from + 1 + r.IntN(n-1)) % n
		at := int64(i) * length / int64(c.packets)
		s, d := &traces[from], &traces[to]
		p := snapline.Packet{At: clock(from, at), Protocol: 6, ID: uint16(i), Fragment: 0x4000, Flags: 0x18, Window: uint16(i),
			Source: address(from, to), Destination: address(to, from), Sequence: sequence[from*n+to],
			Length: uint32(40 + r.IntN(1400)), Digest: r.Uint64()}
		if s.Paused <= p.At && p.At < s.Resumed {
			continue
		}
		sequence[from*n+to] += p.Length
		p.Marked = p.At >= s.CutBegan
		s.Packets = append(s.Packets, p)
		if r.IntN(150) == 0 {
			continue // lost
		}
		p.Inbound = true
		p.At = clock(to, at+80*microsecond+r.Int64N(700*microsecond))
		p.Withheld = p.Marked && p.At < d.CutEnded && !(c.noShield && to == n-1)
		d.Packets = append(d.Packets, p)
	}
	return evidence.Match(group, traces).Diagram(0)
}

// address is the one that a member has towards another.
func address(member, other int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(member + 1)}), uint16(2380+other))
}

// pair is two members and one packet of each class, 1 ms apart, so that a test
// knows where each of them is.
func pair() *evidence.Diagram {
	const cut = 10 * millisecond
	d := &evidence.Diagram{
		Version: evidence.DiagramVersion, State: evidence.Inconsistent, Verdict: "inconsistent: made up", Left: 1234,
		Members: []evidence.Lane{
			{Name: "n1", Host: "h1", CutBegan: cut, CutEnded: cut + 200*microsecond, Paused: cut + 10*microsecond, Resumed: cut + millisecond},
			{Name: "n2", Host: "h2", Offset: 77, Error: 40 * microsecond, CutBegan: cut, CutEnded: cut + 100*microsecond, Paused: evidence.Unseen, Resumed: evidence.Unseen, Lost: 3},
		},
		Classes: []string{"lost", "after", "before", "unmatched", "withheld", "in-transit", "orphan"},
		Flows:   []string{"tcp 10.0.0.1:2380 10.0.0.2:40112", "udp 10.0.0.1:53 10.0.0.2:53"},
	}
	p := &d.Packets
	for class := range d.Classes {
		sent := int64(class+1) * 2 * millisecond
		received := sent + millisecond
		switch d.Classes[class] {
		case "lost":
			received = evidence.Unseen
		case "unmatched":
			sent = evidence.Unseen
		}
		p.From, p.To = append(p.From, 0), append(p.To, 1)
		p.Sent, p.Received = append(p.Sent, sent), append(p.Received, received)
		p.Class, p.Flow = append(p.Class, class), append(p.Flow, int32(class%2))
		p.Sequence, p.Length = append(p.Sequence, uint32(1000+class)), append(p.Length, uint32(1400+class))
		p.Marked = append(p.Marked, class%2)
	}
	return d
}
