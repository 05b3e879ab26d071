package bpf

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

// vector is one entry of testdata/vectors.txt.
type vector struct {
	name  string
	out   bool // from the VM
	gate  rule.Gate
	frame []byte
	want  rule.Outcome
}

// vectors reads the file; its deadlines are around now.
func vectors(t testing.TB, now snapline.Instant) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for i, entry := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		fields := make(map[string]string)
		for line := range strings.Lines(entry) {
			if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
				fields[k] = strings.TrimSpace(v)
			}
		}
		if len(fields) == 0 {
			continue // a comment
		}
		v, err := parseVector(fields, now)
		if err != nil {
			t.Fatalf("vector %d, %q: %v", i, fields["name"], err)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		t.Fatal("no vectors")
	}
	return all
}

func parseVector(fields map[string]string, now snapline.Instant) (v vector, err error) {
	v.name = fields["name"]
	v.out = fields["dir"] == "out"
	if v.gate, err = parseGate(fields["rules"], now); err != nil {
		return v, err
	}
	if v.frame, err = parseHex(fields["in"]); err != nil {
		return v, err
	}
	if v.want.Counters, err = parseCounters(fields["count"]); err != nil {
		return v, err
	}
	switch result := fields["out"]; {
	case result == "withheld":
		v.want.Notice = v.want.Counters.Withheld > 0
	case result == "same":
		v.want.Pass, v.want.Frame = true, v.frame
	case strings.HasPrefix(result, "probe "):
		v.want.Probe = new(rule.Probe)
		_, err = fmt.Sscanf(result, "probe nonce=%x sender=%d seen=%d", &v.want.Probe.Nonce, &v.want.Probe.Sender, &v.want.Probe.Seen)
	default:
		v.want.Pass = true
		v.want.Frame, err = parseHex(result)
	}
	return v, err
}

func parseGate(s string, now snapline.Instant) (rule.Gate, error) {
	g := rule.Gate{Post: snapline.PostCodepoint}
	for word := range strings.FieldsSeq(s) {
		switch word {
		case "off":
		case "mark":
			g.Rules.MarkUntil = now.Add(time.Hour)
		case "shield":
			g.Rules.ShieldUntil = now.Add(time.Hour)
		case "mark-expired":
			g.Rules.MarkUntil = now
		case "shield-expired":
			g.Rules.ShieldUntil = now
		default:
			n, err := strconv.Atoi(strings.TrimPrefix(word, "post="))
			if err != nil {
				return g, fmt.Errorf("rule %q", word)
			}
			g.Post = snapline.Codepoint(n)
		}
	}
	return g, nil
}

func parseHex(s string) ([]byte, error) {
	return hex.DecodeString(strings.ReplaceAll(s, " ", ""))
}

func parseCounters(s string) (c snapline.GateCounters, err error) {
	for word := range strings.FieldsSeq(s) {
		if word == "nothing" {
			continue
		}
		k, n, _ := strings.Cut(word, "=")
		into := map[string]*uint64{
			"out": &c.Out, "in": &c.In, "marked": &c.Marked,
			"withheld": &c.Withheld, "leaked": &c.Leaked, "non_ip": &c.NonIP,
		}[k]
		if into == nil {
			return c, fmt.Errorf("counter %q", k)
		}
		if *into, err = strconv.ParseUint(n, 10, 64); err != nil {
			return c, err
		}
	}
	return c, nil
}

// difference explains how two outcomes differ; empty when they do not.
func difference(want, got rule.Outcome) string {
	var d []string
	if want.Pass != got.Pass {
		d = append(d, fmt.Sprintf("passes: want %v, got %v", want.Pass, got.Pass))
	}
	if !bytes.Equal(want.Frame, got.Frame) {
		d = append(d, fmt.Sprintf("frame:\nwant %.120x (%d bytes)\ngot  %.120x (%d bytes)", want.Frame, len(want.Frame), got.Frame, len(got.Frame)))
	}
	if want.Counters != got.Counters {
		d = append(d, fmt.Sprintf("counts: want %+v, got %+v", want.Counters, got.Counters))
	}
	if want.Notice != got.Notice {
		d = append(d, fmt.Sprintf("notice: want %v, got %v", want.Notice, got.Notice))
	}
	none := rule.Probe{}
	if w, g := cmp.Or(want.Probe, &none), cmp.Or(got.Probe, &none); *w != *g {
		d = append(d, fmt.Sprintf("probe: want %+v, got %+v", *w, *g))
	}
	return strings.Join(d, "\n")
}

func model(v vector, now snapline.Instant) rule.Outcome {
	if v.out {
		return v.gate.FromVM(v.frame, now)
	}
	return v.gate.ToVM(v.frame, now)
}

func TestVectorsModel(t *testing.T) {
	now := bootTime(t)
	for _, v := range vectors(t, now) {
		t.Run(v.name, func(t *testing.T) {
			before := bytes.Clone(v.frame)
			if d := difference(v.want, model(v, now)); d != "" {
				t.Error(d)
			}
			if !bytes.Equal(before, v.frame) {
				t.Error("the model changed its input")
			}
		})
	}
}

func TestVectorsKernel(t *testing.T) {
	now := bootTime(t)
	kernels := make(map[snapline.Codepoint]*kernel)
	for _, v := range vectors(t, now) {
		if !runnable(v.frame) {
			continue // TestVectorsWire
		}
		k := kernels[v.gate.Post]
		if k == nil {
			k = newKernel(t, v.gate.Post)
			kernels[v.gate.Post] = k
		}
		t.Run(v.name, func(t *testing.T) {
			if d := difference(v.want, k.judge(t, v.out, v.gate.Rules, v.frame)); d != "" {
				t.Error(d)
			}
		})
	}
}
