package evidence_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

func TestDiagram(t *testing.T) {
	d := newPair().
		sent(tcp(10, 1, 500, 20, 1, 5), udp(99, 2, 8), udp(104, 3, 9), back(udp(50, 9, 9))).
		received(tcp(20, 1, 500, 20, 1, 5), udp(120, 2, 8), udp(105, 3, 9), back(udp(60, 9, 9))).
		report().Diagram(0)
	type arrow struct {
		From, To       int32
		Sent, Received int64
		Class, Flow    string
		Sequence       uint32
	}
	var got []arrow
	p := d.Packets
	for i := range p.From {
		got = append(got, arrow{p.From[i], p.To[i], p.Sent[i], p.Received[i], d.Classes[p.Class[i]], d.Flows[p.Flow[i]], p.Sequence[i]})
	}
	const tcpFlow, udpFlow = "tcp 10.0.0.1:1111 10.0.0.2:2222", "udp 10.0.0.1:1111 10.0.0.2:2222"
	// n2's clock is taken to be 999,995.5 ahead: its packets took 1 to 10, and 10.
	off := d.Members[1].Offset - ahead
	want := []arrow{
		{0, 1, 0, 10 - off, "before", tcpFlow, 500},
		{1, 0, 40 - off, 50, "before", udpFlow, 9},
		{0, 1, 89, 110 - off, "in-transit", udpFlow, 2},
		{0, 1, 94, 95 - off, "orphan", udpFlow, 3},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if l := d.Members[1]; l.Name != "n2" || l.Host != "h2" || l.CutBegan != 90-off || l.Paused != evidence.Unseen {
		t.Errorf("%+v", l)
	}
	if d.State != evidence.Inconsistent || d.Left != 0 || d.Version != evidence.DiagramVersion {
		t.Errorf("%+v", d)
	}
}

func TestSmallDiagramKeepsWhatMatters(t *testing.T) {
	w := newPair()
	for i := range uint16(50) {
		w.sent(udp(snapline.Instant(i), i+10, 8)).received(udp(snapline.Instant(i)+5, i+10, 8))
	}
	d := w.sent(udp(104, 3, 9)).received(udp(105, 3, 9)).report().Diagram(10)
	if len(d.Packets.From) != 10 || d.Left != 41 {
		t.Fatalf("%d arrows, %d left", len(d.Packets.From), d.Left)
	}
	if d.Classes[d.Packets.Class[9]] != "orphan" || d.Packets.Sequence[8] != 59 {
		t.Errorf("%+v", d.Packets)
	}
}

// busy is n members that exchange so many packets of TCP.
func busy(n, packets int) ([]evidence.Member, []snapline.Trace) {
	r := rand.New(rand.NewPCG(1, 2))
	group, traces := make([]evidence.Member, n), make([]snapline.Trace, n)
	for i := range traces {
		name := snapline.MemberName(fmt.Sprintf("member-%d", i))
		group[i].Name = name
		base := snapline.Instant(i+1) * 1e15
		traces[i] = snapline.Trace{Member: name, Host: snapline.HostName(name), CutBegan: base + 50e6, CutEnded: base + 60e6, Paused: base + 51e6, Resumed: base + 53e6}
	}
	next := make([]uint32, n*n)
	ids := make([]uint16, n)
	for i := range packets {
		a, b := r.IntN(n), r.IntN(n-1)
		if b >= a {
			b++
		}
		at := snapline.Instant(i) * 100e6 / snapline.Instant(packets)
		length := uint32(r.IntN(1449))
		p := snapline.Packet{At: traces[a].CutBegan - 50e6 + at, Protocol: 6, ID: ids[a], Fragment: 0x4000, Flags: 0x18, Window: 500,
			Source:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(a)}), uint16(2000+b)),
			Destination: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(b)}), uint16(2000+a)),
			Sequence:    next[a*n+b], Acknowledgement: next[b*n+a], Timestamp: uint32(at / 1e6), Length: length}
		if length > 0 {
			p.Digest = r.Uint64()
		}
		next[a*n+b] += length
		ids[a]++
		p.Marked = p.At >= traces[a].CutBegan
		traces[a].Packets = append(traces[a].Packets, p)
		p.Inbound = true
		p.At = traces[b].CutBegan - 50e6 + at + 100_000 + snapline.Instant(r.IntN(200_000))
		p.Withheld = p.Marked && p.At < traces[b].CutEnded
		traces[b].Packets = append(traces[b].Packets, p)
	}
	return group, traces
}

func TestLargeDiagramIsSmall(t *testing.T) {
	group, traces := busy(16, 20000)
	r := evidence.Match(group, traces)
	if r.Verdict.State != evidence.Consistent || r.Verdict.Packets != 20000 {
		t.Fatal(r.Verdict)
	}
	b, err := json.Marshal(r.Diagram(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes; %v", len(b), r.Verdict)
	if len(b) > 2_000_000 {
		t.Errorf("%d bytes", len(b))
	}
	size, packets := 0, 0
	for _, trace := range traces {
		b, err := evidence.Encode(trace)
		if err != nil {
			t.Fatal(err)
		}
		size, packets = size+len(b), packets+len(trace.Packets)
	}
	if each := float64(size) / float64(packets); each > 20 {
		t.Errorf("%.1f bytes a packet", each)
	} else {
		t.Logf("%.1f bytes a packet", each)
	}
}

func BenchmarkMatch(b *testing.B) {
	group, traces := busy(16, 20000)
	b.ReportAllocs()
	for b.Loop() {
		evidence.Match(group, traces)
	}
}

func BenchmarkEncode(b *testing.B) {
	_, traces := busy(2, 10000)
	for b.Loop() {
		if _, err := evidence.Encode(traces[0]); err != nil {
			b.Fatal(err)
		}
	}
}
