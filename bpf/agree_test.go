package bpf

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

// TestModelAgreesWithKernel draws frames that are mostly almost right.
func TestModelAgreesWithKernel(t *testing.T) {
	k := newKernel(t, snapline.PostCodepoint)
	rapid.Check(t, func(r *rapid.T) {
		for range 100 {
			if frame := drawFrame(r); runnable(frame) {
				agree(t, k, rapid.Bool().Draw(r, "out"), rapid.IntRange(0, 8).Draw(r, "rules"), frame)
			}
		}
	})
}

// FuzzModelAgreesWithKernel begins with the vectors.
func FuzzModelAgreesWithKernel(f *testing.F) {
	for _, v := range vectors(f, bootTime(f)) {
		for rules := range 9 {
			f.Add(v.out, rules, v.frame)
		}
	}
	k := newKernel(f, snapline.PostCodepoint)
	f.Fuzz(func(t *testing.T, out bool, rules int, frame []byte) {
		if runnable(frame) {
			agree(t, k, out, rules, frame)
		}
	})
}

// agree compares the two under one of nine settings: each rule off, on, expired.
func agree(t testing.TB, k *kernel, out bool, rules int, frame []byte) {
	t.Helper()
	now := bootTime(t)
	deadlines := [3]snapline.Instant{snapline.Never, now.Add(time.Hour), now}
	rules = int(uint(rules) % 9)
	g := rule.Gate{
		Post:  snapline.PostCodepoint,
		Rules: snapline.GateRules{MarkUntil: deadlines[rules%3], ShieldUntil: deadlines[rules/3]},
	}
	want := model(vector{out: out, gate: g, frame: frame}, now)
	if d := difference(want, k.judge(t, out, g.Rules, frame)); d != "" {
		t.Fatalf("frame %x, out %v, rules %d: model (want) and kernel (got) differ:\n%s", frame, out, rules, d)
	}
}

// drawFrame returns a frame of up to four tags and IPv4, IPv6 or something else
// behind them, with its sensitive bytes near their limits, cut off anywhere.
func drawFrame(r *rapid.T) []byte {
	f := rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(r, "addresses")
	for range rapid.IntRange(0, 4).Draw(r, "tags") {
		f = append(f, rapid.SampledFrom([][]byte{{0x81, 0x00, 0x00, 0x64}, {0x88, 0xa8, 0x20, 0x05}}).Draw(r, "tag")...)
	}
	f = append(f, rapid.SampledFrom([][]byte{{8, 0}, {8, 0}, {0x86, 0xdd}, {0x86, 0xdd}, {8, 6}, {0x88, 0xcc}, {0, 0x26}}).Draw(r, "type")...)
	ip := rapid.SliceOfN(rapid.Byte(), 64, 128).Draw(r, "bytes")
	ip[0] = rapid.SampledFrom([]byte{0x45, 0x45, 0x46, 0x4f, 0x44, 0x6a, 0x6a, 0x60, ip[0]}).Draw(r, "version")
	ip[1] = rapid.SampledFrom([]byte{0xac, 0xaf, 0xc0, 0xff, 0, ip[1]}).Draw(r, "tos")
	ip[6] = rapid.SampledFrom([]byte{58, 0x40, 0x20, 0, 0x80, ip[6]}).Draw(r, "next header or fragment")
	ip[7] = rapid.SampledFrom([]byte{255, 254, 0, ip[7]}).Draw(r, "hop limit")
	ip[9] = rapid.SampledFrom([]byte{253, 6, ip[9]}).Draw(r, "protocol")
	ip[40] = byte(rapid.IntRange(130, 140).Draw(r, "ICMPv6 type"))
	if rapid.Bool().Draw(r, "magic") {
		copy(ip[20:], probeMagic)
	}
	f = append(f, ip...)
	return f[:rapid.IntRange(14, len(f)).Draw(r, "length")]
}
