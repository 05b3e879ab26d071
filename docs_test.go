package snapline_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestProtocolPointers wants everything that docs/PROTOCOL.md points to from the
// steps of its argument to be there: tests, methods, properties and variants of
// the model.
func TestProtocolPointers(t *testing.T) {
	_, text, found := strings.Cut(read(t, "docs/PROTOCOL.md"), "### What holds each step")
	if !found {
		t.Fatal("the section is gone")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	model := read(t, "model/round.pml") + read(t, "model/restore.pml")
	code := source(t, "protocol/*.go") + source(t, "*.go")
	pointers := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1)
	if len(pointers) < 80 {
		t.Errorf("only %d pointers", len(pointers))
	}
	test := regexp.MustCompile(`^([\w/]+)\.(Test\w+)(?:/(\w+))?$`)
	method := regexp.MustCompile(`^([A-Z]\w+)\.(\w+)$`)
	for _, p := range pointers {
		p := p[1]
		switch m := test.FindStringSubmatch(p); {
		case m != nil:
			tests := source(t, m[1]+"/*_test.go")
			if !strings.Contains(tests, "func "+m[2]+"(t ") {
				t.Errorf("%s: no such test", p)
			}
			script := filepath.Join(m[1], "testdata", m[3]+".txt")
			if _, err := os.Stat(script); m[3] != "" && err != nil && !strings.Contains(tests, `"`+strings.ReplaceAll(m[3], "_", " ")+`"`) {
				t.Errorf("%s: the test has no such part", p)
			}
		case regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`).MatchString(p):
			if !regexp.MustCompile(`\b` + p + `\b`).MatchString(model) {
				t.Errorf("%s is not in the model", p)
			}
		case method.MatchString(p):
			m := method.FindStringSubmatch(p)
			if !regexp.MustCompile(`func \(\w+ \*?` + m[1] + `\) ` + m[2] + `\(`).MatchString(code) {
				t.Errorf("%s: no such method", p)
			}
		}
	}
	for _, l := range regexp.MustCompile(`\]\(\.\./([^)]+)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(l[1]); err != nil {
			t.Error(err)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// source returns all files that match.
func source(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	var all strings.Builder
	for _, n := range names {
		all.WriteString(read(t, n))
	}
	return all.String()
}
