package protocol

import (
	"fmt"
	"strings"
)

// Playback counts what PlayTrace has done.
type Playback struct {
	Machines int // that were made
	Events   int // that they were given
	// Skipped counts the lines of machines whose beginning the trace does not
	// hold: before a member's first Prepare, say.
	Skipped int
}

// PlayTrace gives the events of a trace, as the programs write it, to new machines
// and wants the effects that the trace holds from them. It stops at the first
// difference, which it describes. Lines that begin with "#" are for the reader.
//
// A machine begins with its Begin, BeginRestore or Life. Where a long trace has
// lost that, a member's machine begins with the next round that it was asked to
// prepare.
func PlayTrace(lines []string) (Playback, error) {
	p := player{who: map[string]*played{}}
	for i, l := range lines {
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		e, err := ParseLine(l)
		if err == nil {
			err = p.play(e, lines[i+1:])
		}
		if err != nil {
			return p.Playback, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	for _, m := range p.who {
		if err := m.end(); err != nil {
			return p.Playback, err
		}
	}
	return p.Playback, nil
}

type player struct {
	Playback
	who map[string]*played
}

// played is one machine and what it wants done that the trace has not shown yet.
type played struct {
	step  func(Event) []Effect
	wants []string
	begun bool // the first effect of the last event is done
	// undone are effects that another one's failure has kept from being executed;
	// the machine has yet to hear of it.
	undone []string
}

func (p *player) play(e Entry, rest []string) (err error) {
	defer func() { // a trace may hold the very event that a machine cannot bear
		if r := recover(); r != nil {
			err = fmt.Errorf("%s panics at %s: %v", e.Who, e.Text, r)
		}
	}()
	m := p.who[e.Who]
	if m == nil && (e.In || e.Out) {
		life, ok := lifeOf(e, rest)
		if !ok {
			p.Skipped++
			return nil
		}
		m = p.begin(e.Who, life)
	}
	if e.Out {
		return m.did(e)
	}
	v, err := e.Value()
	if err != nil {
		return err
	}
	in, ok := v.(Input)
	if !ok {
		p.begin(e.Who, v)
		return nil
	}
	if err := m.event(in); err != nil {
		return err
	}
	p.Events++
	for _, effect := range m.step(Event{At: e.At, Input: in}) {
		m.wants = append(m.wants, Line(e.Who, e.At, effect))
	}
	return nil
}

// begin makes a machine; one that its program had before has ended with it.
func (p *player) begin(who string, from any) *played {
	m := &played{}
	switch b := from.(type) {
	case Begin:
		m.step = NewCoordinator(b).Step
	case BeginRestore:
		m.step = NewRestore(b).Step
	case Life:
		if b.Member == "" {
			m.step = NewRestoreAgent(b.Host, b.Incarnation).Step
		} else {
			m.step = NewAgent(b.Member, b.Incarnation).Step
		}
	}
	p.Machines++
	p.who[who] = m
	return m
}

// did compares one effect.
func (m *played) did(e Entry) error {
	if len(m.wants) == 0 {
		return fmt.Errorf("the trace has %s, and the machine of %s wants nothing more", e.Text, e.Who)
	}
	want, err := ParseLine(m.wants[0])
	if err != nil {
		return err
	}
	if want.At != e.At || want.Text != e.Text {
		return fmt.Errorf("the trace has\n%s\nand the machine of %s wants\n%s", e.Text, e.Who, want.Text)
	}
	m.wants, m.begun = m.wants[1:], true
	return nil
}

// event is called before the next one. Effects that the trace does not hold were
// not executed, because the one before them had failed; sooner or later the
// machine hears of that.
func (m *played) event(in Input) error {
	if len(m.wants) > 0 {
		if !m.begun {
			return m.missing()
		}
		m.undone = m.wants
	}
	if _, ok := in.(Failed); ok {
		m.undone = nil
	}
	m.wants, m.begun = nil, false
	return nil
}

// end is called when the trace is over.
func (m *played) end() error {
	if len(m.wants) == 0 {
		m.wants = m.undone
	}
	if len(m.wants) == 0 {
		return nil
	}
	return m.missing()
}

func (m *played) missing() error {
	return fmt.Errorf("the trace lacks what a machine wants:\n%s", m.wants[0])
}

// lifeOf finds the life of a member whose trace begins in the middle, if the line
// begins a round: the machine's answer, further down, names it.
func lifeOf(e Entry, rest []string) (Life, bool) {
	if !e.In || !strings.HasPrefix(e.Text, "Received Prepare{") {
		return Life{}, false
	}
	first := true
	for _, l := range rest {
		later, err := ParseLine(l)
		if err != nil || later.Who != e.Who {
			continue
		}
		if first && later.Kind != "SetTimer" { // asked again
			return Life{}, false
		}
		first = false
		if later.Kind != "Send" {
			continue
		}
		answer := Entry{Text: "Received " + strings.TrimPrefix(later.Text, "Send ")}
		v, err := answer.Value()
		r, ok := v.(Received)
		if err != nil || !ok {
			return Life{}, false
		}
		ref := r.Msg.About()
		return Life{Member: ref.Member, Incarnation: ref.Incarnation}, ref.Incarnation != ""
	}
	return Life{}, false
}
