package cli

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/snapline/snapline"
)

const (
	refresh  = 150 * time.Millisecond
	barWidth = 24 // columns
)

// bars is the display for a terminal: a line for the phase, and for each member
// one with its step and, while bytes move, a bar.
type bars struct {
	container *mpb.Progress
	head      *mpb.Bar
	began     time.Time
	op        snapline.Operation
	names     []snapline.MemberName // sorted
	members   map[snapline.MemberName]*member

	// mu guards what mpb's goroutines draw from. It is never held while mpb is
	// called, which would wait for those goroutines.
	mu    sync.Mutex
	phase string
}

// member is one line. Its fields other than bar are under bars.mu.
type member struct {
	bar   *mpb.Bar
	step  string
	bytes int64
	total int64
	since time.Time // the present step's beginning
	now   time.Time // the last news
	base  int64     // bytes at since
}

func newBars(w io.Writer, op snapline.Operation, options ...mpb.ContainerOption) *bars {
	b := &bars{began: time.Now(), op: op, phase: "start", members: map[snapline.MemberName]*member{}}
	b.container = mpb.New(append([]mpb.ContainerOption{mpb.WithOutput(w), mpb.WithRefreshRate(refresh)}, options...)...)
	b.head = b.container.MustAdd(0, nil, mpb.BarPriority(-1), mpb.PrependDecorators(decor.Any(b.text(b.heading))))
	return b
}

// text is a decorator's function that holds mu.
func (b *bars) text(what func() string) decor.DecorFunc {
	return func(decor.Statistics) string {
		b.mu.Lock()
		defer b.mu.Unlock()
		return what()
	}
}

func (b *bars) heading() string {
	what := b.op.Kind
	if b.op.Snapshot != "" {
		what += " " + string(b.op.Snapshot)
	}
	return fmt.Sprintf("%s: %-8s %5.1f s", what, b.phase, time.Since(b.began).Seconds())
}

func (b *bars) step(p snapline.Progress) {
	b.mu.Lock()
	if p.Phase != "" {
		b.phase = p.Phase
		if p.Text != "" {
			b.phase += ": " + p.Text
		}
	}
	if p.Done && p.Text != "" {
		b.phase = p.Text
	}
	b.mu.Unlock()
	if p.Member == "" {
		return
	}
	m := b.members[p.Member]
	if m == nil {
		m = b.add(p.Member)
	}
	b.mu.Lock()
	if m.step != p.Step {
		m.step, m.since, m.base = p.Step, p.At, p.Bytes
	}
	m.bytes, m.total, m.now = p.Bytes, p.Total, p.At
	b.mu.Unlock()
	// A total of 0 at first, and then one above the real one, keep mpb from taking
	// the end of a step for the end of the line.
	m.bar.SetTotal(p.Total+1, false)
	m.bar.SetCurrent(p.Bytes)
}

// add makes a member's line, in the order of names.
func (b *bars) add(name snapline.MemberName) *member {
	m := &member{}
	m.bar = b.container.MustAdd(0, b.filler(m), mpb.BarWidth(barWidth), mpb.BarFillerTrim(),
		mpb.PrependDecorators(
			decor.Name("  "+string(name), decor.WCSyncSpaceR),
			decor.Any(b.text(func() string { return m.step }), decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.Any(b.text(m.counter), decor.WCSyncSpace),
			decor.Any(b.text(m.rate), decor.WCSyncSpace),
			decor.Any(b.text(m.left), decor.WCSyncSpace)))
	b.members[name] = m
	b.names = append(b.names, name)
	slices.Sort(b.names)
	for i, n := range b.names {
		b.members[n].bar.SetPriority(i)
	}
	return m
}

// filler draws a bar while bytes move, and blanks otherwise.
func (b *bars) filler(m *member) mpb.BarFiller {
	bar := mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build()
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		b.mu.Lock()
		moving := m.total > 0
		b.mu.Unlock()
		if moving {
			return bar.Fill(w, s)
		}
		_, err := fmt.Fprintf(w, "%*s", min(barWidth, s.AvailableWidth), "")
		return err
	})
}

// counter, rate and left are called with mu held.
func (m *member) counter() string {
	if m.total <= 0 {
		return ""
	}
	return size(m.bytes) + " / " + size(m.total)
}

func (m *member) rate() string {
	elapsed := m.now.Sub(m.since).Seconds()
	if m.total <= 0 || elapsed <= 0 {
		return ""
	}
	return size(int64(float64(m.bytes-m.base)/elapsed)) + "/s"
}

// left is the time that the step will take at its rate so far.
func (m *member) left() string {
	elapsed, moved := m.now.Sub(m.since), m.bytes-m.base
	if m.total <= 0 || elapsed <= 0 || moved <= 0 || m.bytes >= m.total {
		return ""
	}
	eta := time.Duration(float64(elapsed) / float64(moved) * float64(m.total-m.bytes))
	return eta.Round(time.Second).String() + " left"
}

// say prints a line above the bars, over the ^C that the terminal has echoed.
func (b *bars) say(text string) { fmt.Fprintf(b.container, "\r\x1b[K%s\n", clean(text)) }

// close leaves the last state on the screen.
func (b *bars) close() {
	b.head.Abort(false)
	for _, m := range b.members {
		m.bar.Abort(false)
	}
	b.container.Wait()
}
