package bpf

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

// fenceMembers are the members of testdata/fence.txt.
var fenceMembers = snapline.MemberAddresses{
	MACs: []string{"52:54:00:00:00:0a"},
	IPs:  []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
}

// fenceVector is one entry of testdata/fence.txt.
type fenceVector struct {
	name  string
	out   bool
	rules snapline.FenceRules
	frame []byte
	want  rule.FenceOutcome
}

func fenceVectors(t testing.TB, now snapline.Instant) []fenceVector {
	t.Helper()
	text, err := os.ReadFile("testdata/fence.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []fenceVector
	for entry := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(entry) {
			if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
				fields[k] = strings.TrimSpace(v)
			}
		}
		if len(fields) == 0 {
			continue // a comment
		}
		v, err := parseFenceVector(fields, now)
		if err != nil {
			t.Fatalf("%q: %v", fields["name"], err)
		}
		all = append(all, v)
	}
	if len(all) < 10 {
		t.Fatalf("%d vectors", len(all))
	}
	return all
}

func parseFenceVector(fields map[string]string, now snapline.Instant) (v fenceVector, err error) {
	v.name, v.out = fields["name"], fields["dir"] == "out"
	for word := range strings.FieldsSeq(fields["rules"]) {
		switch word {
		case "shut":
		case "open":
			v.rules.OpenUntil = snapline.Always
		case "lease":
			v.rules.OpenUntil = now.Add(time.Hour)
		case "lease-out":
			v.rules.OpenUntil = now
		case "hushed":
			v.rules.HushedUntil = now.Add(time.Hour)
		case "hushed-over":
			v.rules.HushedUntil = now
		case "quarantine":
			v.rules.RestoredUntil, v.rules.RefuseUntil = now.Add(time.Hour), now.Add(time.Hour)
		case "quarantine-over":
			v.rules.RestoredUntil, v.rules.RefuseUntil = now, now
		default:
			return v, fmt.Errorf("rule %q", word)
		}
	}
	if v.frame, err = parseHex(fields["in"]); err != nil {
		return v, err
	}
	for word := range strings.FieldsSeq(fields["count"]) {
		if word == "nothing" {
			continue
		}
		k, n, _ := strings.Cut(word, "=")
		into := map[string]*uint64{"shut": &v.want.Counters.Shut, "restored": &v.want.Counters.Restored, "refused": &v.want.Counters.Refused}[k]
		if into == nil {
			return v, fmt.Errorf("counter %q", k)
		}
		if *into, err = strconv.ParseUint(n, 10, 64); err != nil {
			return v, err
		}
	}
	if from, to, ok := strings.Cut(fields["notes"], " > "); ok {
		if v.want.Way.From, err = netip.ParseAddr(from); err != nil {
			return v, err
		}
		if v.want.Way.To, err = netip.ParseAddr(to); err != nil {
			return v, err
		}
	} else if fields["notes"] != "" {
		return v, fmt.Errorf("notes %q", fields["notes"])
	}
	switch fields["out"] {
	case "nothing":
	case "same":
		v.want.Pass, v.want.Frame = true, v.frame
	default:
		v.want.Pass = true
		v.want.Frame, err = parseHex(fields["out"])
	}
	return v, err
}

func fenceModel(out bool, f rule.Fence, frame []byte, now snapline.Instant) rule.FenceOutcome {
	if out {
		return f.FromVM(frame, now)
	}
	return f.ToVM(frame, now)
}

// fenceDifference leaves out when a way was noted.
func fenceDifference(want, got rule.FenceOutcome) string {
	want.Way.Last, got.Way.Last = 0, 0
	if want.Pass == got.Pass && bytes.Equal(want.Frame, got.Frame) && want.Counters == got.Counters && want.Way == got.Way {
		return ""
	}
	return fmt.Sprintf("want %v %x %+v %v\ngot  %v %x %+v %v", want.Pass, want.Frame, want.Counters, want.Way, got.Pass, got.Frame, got.Counters, got.Way)
}

// fenceInKernel runs a fence's programs, attached to nothing.
type fenceInKernel struct{ k fenceKernel }

func newFenceInKernel(t testing.TB) fenceInKernel {
	t.Helper()
	needRoot(t)
	k, err := newFenceKernel(snapline.FenceSpec{Restored: snapline.RestoredCodepoint, Members: fenceMembers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.close() })
	return fenceInKernel{k}
}

func (f fenceInKernel) judge(t testing.TB, out bool, r snapline.FenceRules, frame []byte) rule.FenceOutcome {
	t.Helper()
	if err := f.k.rules.Put(uint32(0), encodeFence(r)); err != nil {
		t.Fatal(err)
	}
	var perCPU []fenceCounters
	if err := f.k.counters.Lookup(uint32(0), &perCPU); err != nil {
		t.Fatal(err)
	}
	clear(perCPU)
	if err := f.k.counters.Put(uint32(0), perCPU); err != nil {
		t.Fatal(err)
	}
	program := f.k.in
	if out {
		program = f.k.out
	}
	before := bootTime(t)
	verdict, after, err := program.Test(frame)
	if err != nil {
		t.Fatalf("test run: %v", err)
	}
	o := rule.FenceOutcome{Pass: int32(verdict) == -1}
	if o.Pass {
		o.Frame = after
	} else if verdict != 2 {
		t.Fatalf("verdict %d", int32(verdict))
	}
	fence := Fence{maps: f.k}
	if o.Counters, err = fence.Counters(); err != nil {
		t.Fatal(err)
	}
	ways, err := fence.Ways()
	if err == nil {
		err = fence.Forget(ways)
	}
	if err != nil || len(ways) > 1 {
		t.Fatalf("ways %v, %v", ways, err)
	}
	if len(ways) == 1 {
		o.Way = ways[0]
		if o.Way.Last < before || o.Way.Last > bootTime(t) {
			t.Fatalf("noted at %d, not after %d", o.Way.Last, before)
		}
	}
	return o
}

func TestFenceVectors(t *testing.T) {
	now := bootTime(t)
	kernel := newFenceInKernel(t)
	for _, v := range fenceVectors(t, now) {
		t.Run(v.name, func(t *testing.T) {
			f := rule.Fence{Restored: snapline.RestoredCodepoint, Rules: v.rules, Members: fenceMembers}
			if d := fenceDifference(v.want, fenceModel(v.out, f, v.frame, now)); d != "" {
				t.Errorf("model:\n%s", d)
			}
			if runnable(v.frame) {
				if d := fenceDifference(v.want, kernel.judge(t, v.out, v.rules, v.frame)); d != "" {
					t.Errorf("kernel:\n%s", d)
				}
			}
		})
	}
}

// TestFenceModelAgreesWithKernel draws frames that are mostly almost right, and
// often a member's.
func TestFenceModelAgreesWithKernel(t *testing.T) {
	kernel := newFenceInKernel(t)
	rapid.Check(t, func(r *rapid.T) {
		for range 100 {
			frame := drawFrame(r)
			if rapid.Bool().Draw(r, "member's MAC") {
				copy(frame[6:12], []byte{0x52, 0x54, 0, 0, 0, 0x0a})
			}
			if len(frame) >= 34 && rapid.Bool().Draw(r, "member's IP") {
				copy(frame[26:30], []byte{10, 0, 0, 1})
			}
			if len(frame) >= 16 && rapid.Bool().Draw(r, "RESTORED") {
				frame[15] = byte(snapline.RestoredCodepoint) << 2
			}
			if !runnable(frame) {
				continue
			}
			now := bootTime(t)
			deadline := func(name string) snapline.Instant {
				return rapid.SampledFrom([]snapline.Instant{snapline.Never, now, now.Add(time.Hour)}).Draw(r, name)
			}
			f := rule.Fence{Restored: snapline.RestoredCodepoint, Members: fenceMembers, Rules: snapline.FenceRules{
				OpenUntil:     rapid.SampledFrom([]snapline.Instant{snapline.Always, snapline.Never, now, now.Add(time.Hour)}).Draw(r, "open"),
				RestoredUntil: deadline("restored"), RefuseUntil: deadline("refuse"), HushedUntil: deadline("hushed"),
			}}
			out := rapid.Bool().Draw(r, "out")
			want := fenceModel(out, f, frame, now)
			if d := fenceDifference(want, kernel.judge(t, out, f.Rules, frame)); d != "" {
				t.Fatalf("frame %x, out %v, rules %+v: model (want) and kernel (got) differ:\n%s", frame, out, f.Rules, d)
			}
		}
	})
}
