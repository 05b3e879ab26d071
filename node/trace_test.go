package node_test

import (
	"sync"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// recording is the trace file of one program, over all its lives.
type recording struct {
	mu    sync.Mutex
	lines []string
}

func (r *recording) line(who string, at snapline.Instant, what any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, protocol.Line(who, at, what))
}

// replay wants the machines to do again, from the trace alone, what they did.
// Every test of a site ends with it.
func (r *recording) replay(t testing.TB, whose string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	played, err := protocol.PlayTrace(r.lines)
	if err != nil {
		t.Errorf("the trace of %s cannot be played again: %v", whose, err)
	}
	if played.Skipped > 0 {
		t.Errorf("the trace of %s lacks beginnings: %+v", whose, played)
	}
}
