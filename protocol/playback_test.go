package protocol_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline/protocol"
)

var recorded = flag.String("recorded", "", "play this trace of an agent or a coordinator again, and nothing else")

// TestRecorded plays traces of real rounds and restores again: what the machines
// wanted done on real hosts, they want here. For a trace of one's own:
//
//	go test ./protocol -run Recorded -v -recorded /var/lib/snapline/agent/trace.txt
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*.txt")
	if err != nil || len(files) != 4 {
		t.Fatalf("recorded traces: %v, %v", files, err)
	}
	if *recorded != "" {
		files = []string{*recorded}
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := protocol.PlayTrace(strings.Split(string(b), "\n"))
		t.Logf("%s: %d machines, %d events; %d lines belong to machines that began before", file, r.Machines, r.Events, r.Skipped)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if *recorded == "" && (r.Machines < 2 || r.Events < 20 || r.Skipped > 0) {
			t.Errorf("%s: %+v", file, r)
		}
	}
}

// TestReplayDiffers wants a replay to notice what is not as it was: each line of
// a round changed, left out, or said twice.
func TestReplayDiffers(t *testing.T) {
	b, err := os.ReadFile("testdata/recorded/h1.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	n := 0
	for i, l := range lines {
		e, err := protocol.ParseLine(l)
		if err != nil || !e.Out {
			continue
		}
		n++
		other := strings.Replace(l, e.Kind, "Drop", 1)
		if e.Kind == "Drop" {
			other = strings.Replace(l, e.Kind, "Snap", 1)
		}
		for what, changed := range map[string][]string{
			"changed": append(append(slices.Clone(lines[:i]), other), lines[i+1:]...),
			"missing": append(slices.Clone(lines[:i]), lines[i+1:]...),
			"twice":   append(slices.Clone(lines[:i+1]), lines[i:]...),
		} {
			if _, err := protocol.PlayTrace(changed); err == nil {
				t.Errorf("line %d %s: not noticed: %s", i+1, what, l)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d effects", n)
	}
}

// TestReplayRefuses wants an error for what is no trace, not a panic.
func TestReplayRefuses(t *testing.T) {
	for _, trace := range []string{
		"nonsense",
		"1.000 g/n1 - Life{Member:n1",
		"1.000 g/n1 - Nobody{Member:n1}",
		"1.000 g/n1 - Life{Member:n1 Incarnation:a}\n2.000 g/n1 < Received Arm{1/2}",
		"1.000 g/n1 - Life{Member:n1 Incarnation:a}\n2.000 g/n1 < RestoreRang",
		"1.000 g/n1 - Life{Member:n1 Incarnation:a}\n2.000 g/n1 > Snap{Round:1}",
		"1.000 g/n1 - Life{Member:n1 Incarnation:a}\n2.000 g/n1 < Received Prepare{g/1/n1 Member:{Name:n1}}",
	} {
		if r, err := protocol.PlayTrace(strings.Split(trace, "\n")); err == nil {
			t.Errorf("%q is played: %+v", trace, r)
		}
	}
}

// TestReplayFromTheMiddle wants a long trace that has lost its beginning played
// from the next round on.
func TestReplayFromTheMiddle(t *testing.T) {
	b, err := os.ReadFile("testdata/recorded/h1.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i, l := range lines {
		if strings.Contains(l, "< Received Arm{") {
			lines = lines[i:]
			break
		}
	}
	r, err := protocol.PlayTrace(lines)
	if err != nil || r.Skipped == 0 || r.Machines < 2 || r.Events < 10 {
		t.Errorf("%+v, %v", r, err)
	}
}
