package protocol_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the traces that the scripts yield now into testdata")

// TestScripts runs testdata/*.txt: lines that begin with "$ " are commands (see
// commands), indented lines are the trace that a command yields, everything
// else is for the reader.
//
//	go test ./protocol -rewrite && git diff protocol/testdata
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, file, string(want))
			if got == string(want) {
				return
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s yields another trace now (-rewrite accepts it):\n%s", file, firstDifference(string(want), got))
		})
	}
}

const indent = "    "

// play runs a script and returns it with the traces of this run.
func play(t *testing.T, file, script string) string {
	var out strings.Builder
	s := newStage()
	for i, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, indent) {
			continue
		}
		out.WriteString(line + "\n")
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		if err := s.command(command); err != nil {
			t.Fatalf("%s:%d: %s: %v", file, i+1, command, err)
		}
		for _, l := range s.taken() {
			out.WriteString(indent + l + "\n")
		}
	}
	return out.String()
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w) && i < len(g); i++ {
		if w[i] != g[i] {
			return "want " + w[i] + "\n got " + g[i]
		}
	}
	return "one is longer than the other"
}

// words splits a command at blanks, except inside double quotes.
func words(s string) []string {
	var ws []string
	quoted, open := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
			if !open {
				ws, open = append(ws, ""), true
			}
		case r == ' ' && !quoted:
			open = false
		default:
			if !open {
				ws, open = append(ws, ""), true
			}
			ws[len(ws)-1] += string(r)
		}
	}
	return ws
}
