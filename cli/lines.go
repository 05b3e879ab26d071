package cli

import (
	"fmt"
	"io"
	"sync"

	"github.com/snapline/snapline"
)

// lines is the display for what is no terminal: a line for each step, without
// the numbers in between.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	last map[snapline.MemberName]string
}

func newLines(w io.Writer) *lines { return &lines{w: w, last: map[snapline.MemberName]string{}} }

func (l *lines) step(p snapline.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.Phase != "":
		l.print(p.Phase, p.Text)
	case p.Member != "" && l.last[p.Member] != p.Step:
		l.last[p.Member] = p.Step
		l.print("  "+string(p.Member)+" "+p.Step, p.Text)
	}
}

// print writes one line; what a terminal is told must not matter to a file.
func (l *lines) print(what, text string) {
	if text != "" {
		what += ": " + text
	}
	fmt.Fprintln(l.w, clean(what))
}

func (l *lines) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, clean(text))
}

func (l *lines) close() {}
