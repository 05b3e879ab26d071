package snapline_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/snapline/snapline"

type rule struct {
	folder string
	allow  []string // module packages; "" is the root package
	forbid []string // anything beginning with one of these
	why    string
}

// rules say what a package's non-test files may not import, and why. A rule
// applies to every file below its folder, except below a folder that has a rule
// of its own.
var rules = []rule{
	{"protocol", []string{""}, []string{"os", "net", "sync", "context", "log", "io", "math/rand", "syscall"},
		"protocol is pure: time, randomness and I/O arrive as events and leave as effects"},
	{"protocol/sim", []string{"", "protocol", "bpf/rule"}, []string{"os", "net", "sync", "context", "log", "io", "math/rand", "syscall"},
		"a simulated world is as pure as what it tries; only the gate's rule in Go is another package's"},
	{"protocol/tcpsim", []string{"", "protocol", "protocol/sim"}, []string{"os", "net", "sync", "log", "io", "syscall"},
		"its guests live in a simulated world; gVisor wants a context to save them and a source of math/rand"},
	{"bpf", []string{""}, nil, "adapters know the vocabulary only, never each other"},
	{"qemu", []string{""}, nil, "adapters know the vocabulary only, never each other"},
	{"nats", []string{""}, nil, "adapters know the vocabulary only, never each other"},
	{"trust", []string{""}, nil, "who is who is decided without knowing what carries their messages; cli joins the two"},
	{"evidence", []string{""}, nil, "the proof knows the vocabulary only, and nothing of the protocol that it judges"},
	{"bustest", []string{""}, nil, "conformance suites know the vocabulary only"},
	{"repotest", []string{""}, nil, "conformance suites know the vocabulary only"},
	{"fencetest", []string{""}, nil, "conformance suites know the vocabulary only"},
	{"diagram", []string{"evidence"}, nil, "the picture shows what the proof has found"},
	{"gentle", []string{""}, nil, "it hands what it stores to whatever repository cli opens"},
	{"doctor", []string{""}, nil, "it judges a host through an interface; cli gives it the real one"},
	{"groupfile", []string{""}, nil, "a file format knows the vocabulary only"},
	{"placement", []string{""}, []string{"os", "net", "sync", "context", "log", "io", "math/rand", "syscall", "time"},
		"who goes where is a pure function, the same for whoever asks beforehand"},
	{"lab", []string{""}, nil, "the lab is a user's site: it runs the program, and knows nothing of its inside"},
	{"repository", []string{""}, nil, "adapters know the vocabulary only, never each other"},
	{"api", []string{""}, nil, "the API is a thin face of the vocabulary; node gives it behaviour"},
	{"node", []string{"", "protocol", "evidence", "placement"}, nil, "node drives interfaces; cli chooses the adapters"},
	{".", []string{}, nil, "the vocabulary depends on nothing of ours"},
}

func TestImportDirections(t *testing.T) {
	for _, r := range rules {
		checked := 0
		err := filepath.WalkDir(r.folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // a folder that does not exist yet
			}
			if d.IsDir() {
				if path != r.folder && (r.folder == "." || own(path) || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
					return filepath.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			checked++
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, imp := range f.Imports {
				p, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					return err
				}
				if inner, ours := strings.CutPrefix(p, module); ours {
					inner = strings.TrimPrefix(inner, "/")
					if !allowed(r.folder, r.allow, inner) {
						t.Errorf("%s imports %s: %s", path, p, r.why)
					}
					continue
				}
				for _, bad := range r.forbid {
					if p == bad || strings.HasPrefix(p, bad+"/") {
						t.Errorf("%s imports %s: %s", path, p, r.why)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if checked == 0 {
			t.Errorf("rule for %q checked no file: remove it or mend the folder's name", r.folder)
		}
	}
}

// own reports whether a folder has a rule of its own.
func own(folder string) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.folder == filepath.ToSlash(folder) })
}

// allowed reports whether a file below folder may import the module's package
// inner: one that is named, or one of the same folder.
func allowed(folder string, allow []string, inner string) bool {
	if folder != "." && (inner == folder || strings.HasPrefix(inner, folder+"/")) {
		return true
	}
	for _, a := range allow {
		if inner == a {
			return true
		}
	}
	return false
}

// TestProtocolReadsNoClock holds the half of purity that imports cannot show:
// package time is needed for durations, but nothing may ask it what time it is.
func TestProtocolReadsNoClock(t *testing.T) {
	err := filepath.WalkDir("protocol", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := fs.ReadFile(os.DirFS("."), path)
		if err != nil {
			return err
		}
		for _, call := range []string{"time.Now(", "time.Since(", "time.Until(", "time.After(", "time.NewTimer(", "time.Sleep(", "\tgo func", "\tgo "} {
			if strings.Contains(string(b), call) {
				t.Errorf("%s contains %q: time arrives in events and there are no goroutines", path, strings.TrimSpace(call))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
