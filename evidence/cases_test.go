package evidence_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// pairOf is two members that cut at 100 to 110 on clocks of their own; n2's is
// 1,000,000 ahead.
type pairOf struct{ n1, n2 snapline.Trace }

const ahead = 1_000_000

func newPair() *pairOf {
	return &pairOf{
		snapline.Trace{Member: "n1", Host: "h1", CutBegan: 1100, CutEnded: 1110},
		snapline.Trace{Member: "n2", Host: "h2", CutBegan: 1100 + ahead, CutEnded: 1110 + ahead},
	}
}

var (
	one     = netip.MustParseAddrPort("10.0.0.1:1111")
	two     = netip.MustParseAddrPort("10.0.0.2:2222")
	outside = netip.MustParseAddrPort("192.0.2.9:53")
)

func udp(at snapline.Instant, id uint16, digest uint64) snapline.Packet {
	return snapline.Packet{At: at + 1000, Protocol: 17, Source: one, Destination: two, ID: id, Length: 20, Digest: digest}
}

func tcp(at snapline.Instant, id uint16, seq, length, ack, stamp uint32) snapline.Packet {
	return snapline.Packet{At: at + 1000, Protocol: 6, Source: one, Destination: two, ID: id, Sequence: seq, Length: length,
		Acknowledgement: ack, Timestamp: stamp, Flags: 0x10, Window: 500, Digest: uint64(seq)<<32 | uint64(length)}
}

// back is a packet from n2 to n1.
func back(p snapline.Packet) snapline.Packet {
	p.Source, p.Destination = p.Destination, p.Source
	return p
}

func (w *pairOf) sent(p ...snapline.Packet) *pairOf {
	for _, p := range p {
		if p.Source.Addr() == two.Addr() {
			p.At += ahead
			w.n2.Packets = append(w.n2.Packets, p)
			continue
		}
		w.n1.Packets = append(w.n1.Packets, p)
	}
	return w
}

func (w *pairOf) received(p ...snapline.Packet) *pairOf {
	for _, p := range p {
		p.Inbound = true
		if p.Destination.Addr() == two.Addr() {
			p.At += ahead
			w.n2.Packets = append(w.n2.Packets, p)
			continue
		}
		w.n1.Packets = append(w.n1.Packets, p)
	}
	return w
}

func (w *pairOf) report() *evidence.Report {
	return evidence.Match([]evidence.Member{
		{Name: "n1", Addresses: []netip.Addr{one.Addr()}},
		{Name: "n2", Addresses: []netip.Addr{two.Addr()}},
	}, []snapline.Trace{w.n1, w.n2})
}

func withheld(p snapline.Packet) snapline.Packet {
	p.Withheld, p.Marked = true, true
	return p
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		w    *pairOf
		want string
	}{
		{"nothing happened", newPair(), "consistent: 0 packets in 0 flows, 0 in transit, 0 withheld, 0 orphans"},
		{"before", newPair().sent(udp(10, 1, 7)).received(udp(20, 1, 7)),
			"consistent: 1 packet in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"in transit", newPair().sent(udp(99, 1, 7)).received(udp(110, 1, 7)),
			"consistent: 1 packet in 1 flow, 1 in transit, 0 withheld, 0 orphans"},
		{"withheld", newPair().sent(udp(100, 1, 7)).received(withheld(udp(105, 1, 7))),
			"consistent: 1 packet in 1 flow, 0 in transit, 1 withheld, 0 orphans"},
		{"orphan", newPair().sent(udp(100, 1, 7)).received(udp(109, 1, 7)),
			"inconsistent: 1 packet in 1 flow, 0 in transit, 0 withheld, 1 orphan"},
		{"the clocks do not matter", newPair().sent(udp(100, 1, 7)).received(udp(-900, 1, 7)),
			"inconsistent: 1 packet in 1 flow, 0 in transit, 0 withheld, 1 orphan"},
		{"a retransmission is explained by itself", newPair().
			sent(tcp(90, 1, 500, 100, 1, 5), tcp(104, 2, 500, 100, 1, 6)).
			received(tcp(105, 1, 500, 100, 1, 5), tcp(106, 2, 500, 100, 1, 6)),
			"inconsistent: 2 packets in 1 flow, 0 in transit, 0 withheld, 1 orphan"},
		{"the network made a duplicate", newPair().sent(udp(90, 1, 7)).received(udp(95, 1, 7), udp(109, 1, 7)),
			"consistent: 1 packet in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"the same message, sent before and after", newPair().
			sent(udp(90, 0, 7), udp(104, 0, 7)).received(udp(105, 0, 7), udp(120, 0, 7)),
			"consistent: 2 packets in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"cut, with one segment after", newPair().sent(tcp(90, 1, 0xffffff00, 2896, 1, 5)).
			received(tcp(95, 1, 0xffffff00, 1448, 1, 5), tcp(120, 2, 1192, 1448, 1, 5)),
			"consistent: 1 packet in 1 flow, 1 in transit, 0 withheld, 0 orphans"},
		{"merged from before and after", newPair().
			sent(tcp(90, 1, 0, 1448, 1, 5), tcp(104, 2, 1448, 1448, 1, 5)).received(tcp(106, 1, 0, 2896, 1, 5)),
			"inconsistent: 2 packets in 1 flow, 0 in transit, 0 withheld, 1 orphan"},
		{"an ID that a middlebox changed", newPair().sent(udp(90, 1, 7)).received(udp(95, 99, 7)),
			"consistent: 1 packet in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"no record of sending", newPair().sent(udp(10, 1, 7)).received(udp(20, 2, 8)),
			"unproven: 1 packet received before the cut without a record of sending"},
		{"an answer to it came before the sender's cut", newPair().
			sent(udp(10, 1, 7), back(udp(30, 3, 9))).received(udp(20, 2, 8), back(udp(40, 3, 9))),
			"consistent: 3 packets in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"an answer to it came after", newPair().
			sent(udp(10, 1, 7), back(udp(30, 3, 9))).received(udp(20, 2, 8), back(udp(100, 3, 9))),
			"unproven: 1 packet received before the cut without a record of sending"},
		{"a later packet has a later timestamp", newPair().sent(tcp(10, 5, 500, 10, 1, 6)).received(tcp(20, 4, 490, 10, 1, 5)),
			"consistent: 2 packets in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"a later packet acknowledges more", newPair().sent(tcp(10, 5, 500, 10, 2, 0)).received(tcp(20, 4, 490, 10, 1, 0)),
			"consistent: 2 packets in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
		{"the later packet is after the cut", newPair().sent(tcp(10, 3, 480, 10, 1, 5), tcp(100, 5, 500, 10, 1, 7)).received(tcp(20, 4, 490, 10, 1, 6)),
			"unproven: 1 packet received before the cut without a record of sending"},
		{"from outside", newPair().sent(udp(10, 1, 7)).received(func() snapline.Packet {
			p := udp(20, 2, 8)
			p.Source = outside
			return p
		}()), "consistent: 1 packet in 1 flow, 0 in transit, 0 withheld, 0 orphans"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.w.report().Verdict.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestFalseAddress lets n2 use n1's address for a packet that looks like one of
// n1's, after its own cut, while n1 cuts later.
func TestFalseAddress(t *testing.T) {
	group := []evidence.Member{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}}
	n1 := snapline.Trace{Member: "n1", CutBegan: 900, CutEnded: 901, Packets: []snapline.Packet{udp(-990, 5, 5)}}
	n2 := snapline.Trace{Member: "n2", CutBegan: 100, CutEnded: 101, Packets: []snapline.Packet{udp(-800, 1, 7)}}
	p := udp(-980, 1, 7)
	p.Inbound = true
	n3 := snapline.Trace{Member: "n3", CutBegan: 500, CutEnded: 501, Packets: []snapline.Packet{p}}
	v := evidence.Match(group, []snapline.Trace{n1, n2, n3}).Verdict
	if v.State != evidence.Inconsistent || v.Named[0].From != "n2" || v.Named[0].To != "n3" {
		t.Errorf("%v %+v", v, v.Named)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *pairOf) []snapline.Trace
		want   string
	}{
		{"no trace", func(*pairOf) []snapline.Trace { return nil }, "unproven: there is no trace, as of a barrier cut"},
		{"one trace", func(w *pairOf) []snapline.Trace { return []snapline.Trace{w.n1} }, "unproven: the trace of n2 is missing"},
		{"one trace twice", func(w *pairOf) []snapline.Trace { return []snapline.Trace{w.n1, w.n1, w.n2} }, "unproven: there are two traces of n1"},
		{"of a stranger", func(w *pairOf) []snapline.Trace { return []snapline.Trace{w.n1, w.n2, {Member: "n3"}} }, "unproven: there is a trace of n3, which is no member"},
		{"no cut", func(w *pairOf) []snapline.Trace {
			w.n2.CutEnded = snapline.Never
			return []snapline.Trace{w.n1, w.n2}
		}, "unproven: the trace of n2 does not say when its cut was"},
		{"cut out of order", func(w *pairOf) []snapline.Trace {
			w.n2.CutEnded = w.n2.CutBegan - 1
			return []snapline.Trace{w.n1, w.n2}
		}, "unproven: in the trace of n2 the cut ends before it begins"},
		{"lost", func(w *pairOf) []snapline.Trace {
			w.n1.Lost, w.n2.Lost = 1000, 234
			return []snapline.Trace{w.n1, w.n2}
		}, "unproven: 1,234 records lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newPair().sent(udp(10, 1, 7)).received(udp(20, 1, 7))
			v := evidence.Match([]evidence.Member{{Name: "n1"}, {Name: "n2"}}, c.change(w)).Verdict
			if v.String() != c.want {
				t.Errorf("got %s\nwant %s", v, c.want)
			}
		})
	}
}

func TestClocks(t *testing.T) {
	c := newPair().
		sent(udp(10, 1, 7), udp(30, 2, 8), back(udp(40, 3, 9))).
		received(udp(14, 1, 7), udp(39, 2, 8), back(udp(50, 3, 9))).report().Clocks
	if c[0].Offset != 0 || c[0].Error != 0 {
		t.Errorf("of the first to itself: %+v", c[0])
	}
	// At most 4 ahead of what it is by one direction, at most 10 behind by the other.
	if c[1].Offset != ahead-3 || c[1].Error != 7 {
		t.Errorf("%+v", c[1])
	}
	if c := newPair().report().Clocks; c[1].Offset != ahead || c[1].Error != -1 {
		t.Errorf("without packets: %+v", c[1])
	}
}

func TestPeers(t *testing.T) {
	out, in := udp(10, 1, 7), udp(20, 9, 8)
	out.Destination, in.Source, in.Destination = outside, outside, one
	peers := newPair().sent(out, out, udp(30, 2, 8)).received(in, udp(40, 2, 8)).report().Peers
	want := evidence.Peer{Member: "n1", Address: outside.Addr(), PacketsIn: 1, BytesIn: 20, PacketsOut: 2, BytesOut: 40}
	if len(peers) != 1 || peers[0] != want {
		t.Errorf("%+v", peers)
	}
}

func TestMatchChangesNothing(t *testing.T) {
	w := newPair().sent(udp(30, 1, 7), udp(10, 2, 8)).received(udp(40, 1, 7), udp(20, 2, 8))
	if v := w.report().Verdict; v.State != evidence.Consistent {
		t.Fatal(v)
	}
	if w.n1.Packets[0].At != 1030 || !strings.HasPrefix(w.n1.Packets[0].Source.String(), "10.0.0.1") {
		t.Error("the trace has been sorted")
	}
}
