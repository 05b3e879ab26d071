package bpf

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

func record(t *testing.T, g snapline.Gate) {
	t.Helper()
	if err := g.Record(bootTime(t).Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

func recorded(t *testing.T, g snapline.Gate) snapline.Recording {
	t.Helper()
	r, err := g.Recorded()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// identity is a packet without what differs between two gates.
func identity(p snapline.Packet) snapline.Packet {
	p.At, p.Inbound, p.Withheld, p.Marked = 0, false, false, false
	return p
}

// TestRecord follows single packets through all settings of both gates.
func TestRecord(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			a, b := h.addVM(t, 1), h.addVM(t, 2)
			from, to := h.open(t, mode, a.nic), h.open(t, mode, b.nic)
			line := newLine(t, a, b)
			line.send(t, 1) // resolves addresses, unrecorded
			line.receive(t, 5*time.Second)
			began := bootTime(t)
			record(t, from)
			record(t, to)
			line.send(t, 2) // before both cuts
			line.receive(t, 5*time.Second)
			set(t, to, time.Hour, time.Hour)
			line.send(t, 3) // in transit
			line.receive(t, 5*time.Second)
			set(t, from, time.Hour, 0)
			line.send(t, 4) // withheld
			eventually(t, "withholding", func() bool { return counters(t, to).Withheld == 1 })
			set(t, to, time.Hour, 0)
			line.send(t, 5) // after both cuts
			line.receive(t, 5*time.Second)
			set(t, from, 0, 0)
			set(t, to, 0, 0)
			line.send(t, 6) // after the round
			line.receive(t, 5*time.Second)

			sent, got := recorded(t, from), recorded(t, to)
			if sent.Lost+got.Lost+got.LostFrames != 0 {
				t.Errorf("lost %d, %d, %d frames", sent.Lost, got.Lost, got.LostFrames)
			}
			udp := func(p snapline.Packet) bool { return p.Protocol != unix.IPPROTO_UDP }
			sent.Packets, got.Packets = slices.DeleteFunc(sent.Packets, udp), slices.DeleteFunc(got.Packets, udp)
			if len(sent.Packets) != 5 || len(got.Packets) != 5 {
				t.Fatalf("recorded %+v and %+v", sent.Packets, got.Packets)
			}
			for i, p := range got.Packets {
				s := sent.Packets[i]
				if identity(p) != identity(s) {
					t.Errorf("packet %d is %+v at the sender, %+v at the receiver", i, s, p)
				}
				if s.Inbound || !p.Inbound || s.At < began || p.At < s.At || s.Withheld {
					t.Errorf("packet %d: %+v, %+v", i, s, p)
				}
				if marked := i == 2 || i == 3; s.Marked != marked || p.Marked != marked || p.Withheld != (i == 2) {
					t.Errorf("packet %d: %+v, %+v", i, s, p)
				}
			}
			p := sent.Packets[0]
			if p.Source != netip.MustParseAddrPort(a.ip+":7000") || p.Destination != netip.MustParseAddrPort(b.ip+":7000") || p.Length != 1 || p.Digest == 0 || p.Digest == sent.Packets[1].Digest {
				t.Errorf("%+v", p)
			}
			frames := slices.DeleteFunc(got.Frames, func(f snapline.Frame) bool { return f.Length != len(f.Data) || f.Data[23] != unix.IPPROTO_UDP })
			// All but the one before the cut: any of them may have been in transit.
			if len(frames) != 4 {
				t.Fatalf("frames: %+v", got.Frames)
			}
			for i, f := range frames {
				p := got.Packets[i+1]
				if f.At != p.At || f.Marked != p.Marked || len(f.Data) < 43 || f.Data[42] != byte(i+3) {
					t.Errorf("frame %d: %+v of %+v", i, f, p)
				}
			}
		})
	}
}

// TestRecordStream records streams in segments far above the MTU: nothing is
// lost, and what was sent covers what has arrived.
func TestRecordStream(t *testing.T) {
	for _, family := range []string{"tcp4", "tcp6"} {
		t.Run(family, func(t *testing.T) {
			h := newHost(t)
			a, b := h.addVM(t, 1), h.addVM(t, 2)
			a.enableIPv6(t)
			b.enableIPv6(t)
			from, to := h.open(t, TCX, a.nic), h.open(t, TCX, b.nic)
			record(t, from)
			record(t, to)
			set(t, to, time.Hour, 0) // every packet is one in transit
			stream(t, a, b, family)
			sent, got := recorded(t, from), recorded(t, to)
			if sent.Lost+got.Lost != 0 {
				t.Errorf("lost %d and %d", sent.Lost, got.Lost)
			}
			var out, in uint64
			for _, p := range sent.Packets {
				if p.Destination.Port() == 7001 {
					out += uint64(p.Length)
				}
			}
			stamps := 0
			for _, p := range got.Packets {
				if p.Destination.Port() == 7001 && p.Inbound {
					in += uint64(p.Length)
					if p.Timestamp != 0 {
						stamps++
					}
				}
			}
			if in < 16<<20 || out < in {
				t.Errorf("%d bytes were sent, %d have arrived, of a stream of %d", out, in, 16<<20)
			}
			if stamps < len(got.Packets)/3 {
				t.Errorf("%d of %d packets have a timestamp", stamps, len(got.Packets))
			}
			whole := 0
			for _, f := range got.Frames {
				if len(f.Data) == min(f.Length, frameMax) && len(f.Data) > 54 {
					whole++
				}
			}
			if whole == 0 || whole != len(got.Frames) || uint64(whole)+got.LostFrames < 200 {
				t.Errorf("%d of %d frames are whole, %d lost", whole, len(got.Frames), got.LostFrames)
			}
		})
	}
}

// TestRecordEnds lets a recording end by its deadline, and by Recorded.
func TestRecordEnds(t *testing.T) {
	h := newHost(t)
	a, b := h.addVM(t, 1), h.addVM(t, 2)
	g := h.open(t, TCX, b.nic)
	if r := recorded(t, g); len(r.Packets) != 0 {
		t.Errorf("recorded unasked: %+v", r)
	}
	line := newLine(t, a, b)
	if err := g.Record(bootTime(t)); err != nil {
		t.Fatal(err)
	}
	line.send(t, 1)
	line.receive(t, 5*time.Second)
	if r := recorded(t, g); len(r.Packets) != 0 {
		t.Errorf("recorded after the deadline: %+v", r)
	}
	record(t, g)
	recorded(t, g)
	line.send(t, 2)
	line.receive(t, 5*time.Second)
	if r := recorded(t, g); len(r.Packets) != 0 {
		t.Errorf("recorded after the end: %+v", r)
	}
	record(t, g)
	if err := g.Close(); err != nil { // with the rings open
		t.Fatal(err)
	}
	if err := g.Record(snapline.Never); err == nil {
		t.Error("a closed gate records")
	}
	if _, err := g.Recorded(); err == nil {
		t.Error("a closed gate has a recording")
	}
}

// TestRecordCounts fills the ring faster than anybody reads it: what does not
// fit is counted.
func TestRecordCounts(t *testing.T) {
	k := newKernel(t, snapline.PostCodepoint)
	tomorrow, err := untilTomorrow(false, false)
	if err != nil {
		t.Fatal(err)
	}
	tomorrow.RecordUntil = uint64(bootTime(t).Add(time.Hour))
	if err := k.objs.Rules.Put(uint32(0), tomorrow); err != nil {
		t.Fatal(err)
	}
	const packets = 100_000 // the ring has room for some 47,000
	if _, _, err := k.objs.ToVm.Benchmark(costFrame(0), packets, nil); err != nil {
		t.Fatal(err)
	}
	var perCPU []gateCounters
	if err := k.objs.Counters.Lookup(uint32(0), &perCPU); err != nil {
		t.Fatal(err)
	}
	var lost, in uint64
	for _, c := range perCPU {
		lost, in = lost+c.Lost, in+c.In
	}
	room := uint64(4<<20) / (recordSize + 8) // each with a header, Documentation/bpf/ringbuf.rst
	if in < packets || lost < in-room-1 || lost > in-room+1 {
		t.Errorf("%d packets, %d lost, room for %d", in, lost, room)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	for name, b := range map[string][]byte{"short": make([]byte, recordSize-1), "no version": make([]byte, recordSize)} {
		if p, ok := decodeRecord(b); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
	sample := func(length, tagged, bits byte, data ...byte) []byte {
		head := []byte{9, 0, 0, 0, 0, 0, 0, 0, length, 0, 0, 0, 0x34, 0x02, tagged, bits, 0x81, 0x00, 0, 0, 0, 0, 0, 0}
		return append(head, data...)
	}
	if f, ok := decodeFrame(sample(4, 0, 0, 1, 2, 3)); ok {
		t.Errorf("a frame of 3 bytes of 4: %+v", f)
	}
	if f, ok := decodeFrame(sample(0, 0, 0)[:frameHead-1]); ok {
		t.Errorf("half a head: %+v", f)
	}
	f, ok := decodeFrame(sample(2, 0, recordMarked, 1, 2, 3))
	if !ok || !bytes.Equal(f.Data, []byte{1, 2}) || f.At != 9 || !f.Marked {
		t.Errorf("with garbage behind it: %+v", f)
	}
	f, ok = decodeFrame(sample(14, 1, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0))
	if want := []byte{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x81, 0, 2, 0x34, 8, 0}; !ok || !bytes.Equal(f.Data, want) || f.Length != len(want) {
		t.Errorf("with its tag outside: %+v", f)
	}
}
