package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline/protocol"
)

// TestTraceIsBounded wants the newest lines kept, and no more than two files.
func TestTraceIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.txt")
	tr := newTraceFile(path, 1000, slog.New(slog.DiscardHandler))
	const lines = 500
	for i := range lines {
		tr.line(fmt.Sprint("g/n", i), 0, protocol.Started{})
		if i == lines/2 {
			tr.close() // as when the command starts again
			tr = newTraceFile(path, 1000, tr.log)
		}
	}
	tr.close()
	names, err := filepath.Glob(path + "*")
	if err != nil || len(names) != 2 {
		t.Fatalf("files: %v, %v", names, err)
	}
	var all []byte
	for _, n := range []string{path + ".1", path} {
		b, err := os.ReadFile(n)
		if err != nil || len(b) > 1000 {
			t.Errorf("%s: %d bytes, %v", n, len(b), err)
		}
		all = append(all, b...)
	}
	got := strings.Split(strings.TrimSpace(string(all)), "\n")
	for i, l := range got {
		if e, err := protocol.ParseLine(l); err != nil || e.Who != fmt.Sprint("g/n", lines-len(got)+i) {
			t.Errorf("line %d of %d: %s: %v", i, len(got), l, err)
		}
	}
}

// TestTraceThatCannotBeWritten wants one warning, and no more.
func TestTraceThatCannotBeWritten(t *testing.T) {
	var log bytes.Buffer
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tr := newTraceFile(filepath.Join(file, "trace.txt"), 1000, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		tr.line("g/n1", 0, protocol.Started{})
	}
	tr.close()
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
}

// TestTraceCountsWhatItLoses wants a disk that does not keep up to cost lines, not
// time, and the file to say so.
func TestTraceCountsWhatItLoses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.txt")
	tr := newTraceFile(path, 1<<30, slog.New(slog.DiscardHandler))
	tr.close() // nothing takes lines out any more
	lines := cap(tr.lines) + 10
	for range lines {
		tr.line("g/n1", 0, protocol.Started{})
	}
	tr.stop, tr.ended = make(chan struct{}), make(chan struct{})
	go tr.run()
	tr.close()
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(b, []byte("# 10 lines are missing")) || bytes.Count(b, []byte("\n")) != cap(tr.lines)+1 {
		t.Errorf("%.80s… %d lines, %v", b, bytes.Count(b, []byte("\n")), err)
	}
}
