package evidence_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

func TestTraceComesBack(t *testing.T) {
	packets, size := 0, 0
	for seed := range uint64(50) {
		w := newWorld(seed, worldOptions{})
		for _, want := range w.traces() {
			want.Lost, want.Paused, want.Resumed = seed, want.CutBegan+1, want.CutEnded-1
			b, err := evidence.Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want.Packets {
				if want.Packets[i].Length == 0 {
					want.Packets[i].Digest = 0
				}
			}
			got, err := evidence.Decode(b, evidence.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(want, got) {
				t.Fatalf("world %d: %s's trace came back different", seed, want.Member)
			}
			packets, size = packets+len(want.Packets), size+len(b)
		}
	}
	t.Logf("%d packets, %.1f bytes each", packets, float64(size)/float64(packets))
}

// TestGolden holds the format: version 1 as documented, byte by byte.
func TestGolden(t *testing.T) {
	trace := snapline.Trace{Member: "n1", Host: "h1", CutBegan: 1000, CutEnded: 2000, Paused: 1200, Resumed: 1300, Lost: 5,
		Packets: []snapline.Packet{
			{At: 900, Marked: true, Protocol: 6, Source: netip.MustParseAddrPort("10.0.0.1:22"), Destination: netip.MustParseAddrPort("10.0.0.2:33"),
				ID: 7, Fragment: 0x4000, Sequence: 100, Acknowledgement: 200, Timestamp: 50, Flags: 0x18, Window: 64, Length: 3, Digest: 0x0102030405060708},
			{At: 950, Inbound: true, Withheld: true, Protocol: 6, Source: netip.MustParseAddrPort("10.0.0.2:33"), Destination: netip.MustParseAddrPort("10.0.0.1:22"),
				ID: 9, Fragment: 0x4000, Sequence: 200, Acknowledgement: 103, Flags: 0x10, Window: 63},
		}}
	b, err := evidence.Encode(trace)
	if err != nil {
		t.Fatal(err)
	}
	if string(b[:8]) != "SNAPTRC1" {
		t.Fatalf("it begins with %q", b[:8])
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	body, err := z.DecodeAll(b[8:], nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "026e31" + "026831" + "d00f" + "a01f" + "e012" + "a814" + "05" + // names, cut, pause, lost
		"02" + "040a000001" + "040a000002" + // addresses
		"02" + "0600160121" + "0601210016" + // flows
		"02" + "880e" + "64" + "0403" + "0001" + "1810" + // packets: at, bits, flow, flags
		"0300" + "0e12" + "808001808001" + // length, id, fragment
		"c801" + "9003" + "9003" + "00" + "6400" + "8001" + "7e" + "0807060504030201" // sequence, acknowledgement, timestamp, window, digest
	if got := hex.EncodeToString(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := evidence.Encode(snapline.Trace{Member: "n1", Packets: make([]snapline.Packet, 10)})
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(good)
	newer[7] = '2'
	for _, c := range []struct {
		name   string
		b      []byte
		limits evidence.Limits
		want   error
	}{
		{"nothing", nil, evidence.DefaultLimits(), evidence.ErrFormat},
		{"something else", []byte("SNAPPAK1 and more"), evidence.DefaultLimits(), evidence.ErrFormat},
		{"newer", newer, evidence.DefaultLimits(), evidence.ErrNewer},
		{"cut off", good[:len(good)-3], evidence.DefaultLimits(), evidence.ErrFormat},
		{"too many packets", good, evidence.Limits{Packets: 9, Bytes: 1 << 20}, evidence.ErrFormat},
		{"too many bytes", good, evidence.Limits{Packets: 10, Bytes: 20}, evidence.ErrFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := evidence.Decode(c.b, c.limits); !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for seed := range uint64(3) {
		for _, trace := range newWorld(seed, worldOptions{}).traces() {
			trace.Packets = trace.Packets[:min(30, len(trace.Packets))]
			b, err := evidence.Encode(trace)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(unpack(b))
		}
	}
	f.Add([]byte{})
	limits := evidence.Limits{Packets: 1000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := evidence.Decode(pack(body), limits)
		if err != nil {
			if !errors.Is(err, evidence.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		b, err := evidence.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		again, err := evidence.Decode(b, evidence.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v", a, again)
		}
		r := evidence.Match([]evidence.Member{{Name: a.Member}, {Name: "n9"}}, []snapline.Trace{a})
		if r.Verdict.State != evidence.Unproven {
			t.Fatalf("half of the traces prove: %v", r.Verdict)
		}
		r.Diagram(100)
	})
}

// pack and unpack let the fuzzer see through the compression.
func pack(body []byte) []byte {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err)
	}
	defer func() { _ = z.Close() }()
	return z.EncodeAll(body, []byte("SNAPTRC1"))
}

func unpack(b []byte) []byte {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer z.Close()
	body, err := z.DecodeAll(b[8:], nil)
	if err != nil {
		panic(err)
	}
	return body
}
