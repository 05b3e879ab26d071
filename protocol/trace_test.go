package protocol_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

func TestLine(t *testing.T) {
	ref := protocol.Ref{Group: "g", Round: 7, Member: "n1", Incarnation: "a"}
	for _, c := range []struct {
		at   snapline.Instant
		what any
		want string
	}{
		{1203250000, protocol.Received{Msg: protocol.Cut{Ref: ref}}, "1203.250 n1           < Received Cut{g/7/n1@a}"},
		{1203250117, protocol.Snap{Round: 7}, "1203.250117 n1           > Snap{Round:7}"},
		{0, protocol.SetGate{Round: 7, Rules: snapline.GateRules{MarkUntil: 6e9}}, "0.000 n1           > SetGate{Round:7 Rules:{MarkUntil:6000.000}}"},
		{-1500, protocol.Started{}, "-0.001500 n1           < Started"},
		{math.MinInt64, protocol.Cancelled{}, "-9223372036854.775808 n1           < Cancelled"},
		{1, protocol.Send{Msg: protocol.Abort{Ref: ref, Why: "x\ny \"z\""}}, `0.000001 n1           > Send Abort{g/7/n1@a Why:"x\ny \"z\""}`},
		{1, protocol.Received{}, "0.000001 n1           < Received nothing"},
		{1, protocol.Rang{Timer: protocol.Timer{Round: 7, Name: protocol.TimerGate}}, "0.000001 n1           < Rang{gate/7}"},
	} {
		if got := strings.TrimLeft(protocol.Line("n1", c.at, c.what), " "); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		e, err := protocol.ParseLine(c.want)
		if err != nil || e.At != c.at || e.Who != "n1" || !strings.HasSuffix(c.want, e.Text) {
			t.Errorf("%s is read as %+v, %v", c.want, e, err)
		}
	}
}

// TestParseGolden reads every trace line of the scripts.
func TestParseGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			if !strings.Contains(line, " < ") && !strings.Contains(line, " > ") || !strings.HasPrefix(line, indent) {
				continue
			}
			n++
			if e, err := protocol.ParseLine(line); err != nil || e.Kind == "" {
				t.Errorf("%s: %s: %+v, %v", f, line, e, err)
			} else if !e.Out {
				v, err := e.Value()
				if err != nil {
					t.Errorf("%s: %s: %v", f, line, err)
				} else if again := protocol.Line(e.Who, e.At, v); strings.TrimSpace(again) != strings.TrimSpace(line) {
					t.Errorf("%s is read as\n%s", line, again)
				}
			}
		}
	}
	if n < 1000 {
		t.Errorf("only %d trace lines", n)
	}
}

// TestEveryInputIsReadable wants an input that is added to be added to what a
// trace can be read back as, too.
func TestEveryInputIsReadable(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func \((\w+)\) input\(\)`).FindAllStringSubmatch(string(b), -1) {
			if m[1] == "Received" || m[1] == "RestoreReceived" {
				continue // what they carry is what the codec knows
			}
			n++
			if _, err := (protocol.Entry{In: true, Kind: m[1], Text: m[1]}).Value(); err != nil {
				t.Error(err)
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d inputs", n)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("1203.250 n1 < Received Cut{g/7/n1@a}")
	f.Add("  -0.001500 n1 > Snap{Round:7}")
	f.Add(" < ")
	f.Add("0 n1 < Received Prepare{g/1/n1 Member:{Name:n1 Host:h1} colour Post:0x2b Deadlines:{Ready:15s Arm:2s Cut:3s Gate:6s}}")
	f.Add("0 n1 < Received Probed{g/1/n1@a Seen:{2:0x2b}}")
	f.Add("0 n1 < Received PlanRestore{r0/h2 Snapshot:g-1 Group:{Name:g Members:[{Name:n1} {Name:n2}]} Members:[{Name:n1}]}")
	f.Add("0 n1 - Life{Member:n1 Incarnation:a}")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := protocol.ParseLine(s)
		if err == nil && !strings.HasSuffix(s, e.Text) {
			t.Errorf("%q is read as %+v", s, e)
		}
		if v, err := e.Value(); err == nil {
			// What is read is what is printed, whatever it was read from.
			again, err := protocol.ParseLine(protocol.Line("n1", 0, v))
			if err != nil {
				t.Fatalf("%q: %+v: %v", s, v, err)
			}
			if w, err := again.Value(); err != nil || !reflect.DeepEqual(v, w) && fmt.Sprintf("%#v", v) != fmt.Sprintf("%#v", w) && !strings.Contains(s, "NaN") {
				t.Errorf("%q is read as %#v, and that as %#v, %v", s, v, w, err)
			}
		}
	})
}
