package protocol_test

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

const coordinator = "coordinator"

// travel is the time that a batch of messages, or of completed effects, takes.
const travel = time.Millisecond

// machine is what all the state machines have in common.
type machine interface {
	Step(protocol.Event) []protocol.Effect
}

// letter is a message on the wire.
type letter struct {
	from, to string
	msg      any
}

// task is an effect that was begun and has not been completed.
type task struct {
	who    string
	effect protocol.Effect
}

func (t task) kind() string { return kindOf(t.effect) }

func kindOf(v any) string { return reflect.TypeOf(v).Name() }

type alarm struct {
	at    snapline.Instant
	who   string
	input protocol.Input
}

// stage is the world of one script: machines that share one clock, a wire that
// delivers only what the script says, effects that end when the script says.
type stage struct {
	now    snapline.Instant
	lines  []string
	muted  int // steps of resend timers that put nothing new on the wire
	actors map[string]machine
	lives  map[string]int // agents: how often started
	group  snapline.Group
	round  snapline.Round
	wire   []letter
	sent   []letter // all that ever was
	tasks  []task
	alarms []alarm
	silent bool            // keep no lines
	ended  protocol.Effect // the last End or RestoreDone
}

func newStage() *stage {
	return &stage{actors: map[string]machine{}, lives: map[string]int{}}
}

// taken returns the lines since the last call.
func (s *stage) taken() []string {
	s.unmute()
	l := s.lines
	s.lines = nil
	return l
}

func (s *stage) unmute() {
	if s.muted > 0 {
		s.lines = append(s.lines, fmt.Sprintf("%12s (asked %d more times; the copies are left out)", "…", s.muted))
		s.muted = 0
	}
}

func (s *stage) say(who string, what any) {
	if s.silent {
		return
	}
	s.unmute()
	s.lines = append(s.lines, protocol.Line(who, s.now, what))
}

func (s *stage) note(format string, args ...any) {
	s.unmute()
	s.lines = append(s.lines, fmt.Sprintf("%12s ", "")+fmt.Sprintf(format, args...))
}

// step gives a machine one input and does what it wants done.
func (s *stage) step(who string, in protocol.Input) {
	m := s.actors[who]
	if m == nil {
		s.note("%s is down: %s lost", who, kindOf(in))
		return
	}
	effects := m.Step(protocol.Event{At: s.now, Input: in})
	if isResend(in) && !s.news(effects) {
		s.muted++
		s.doTimers(who, effects)
		return
	}
	s.say(who, in)
	for _, e := range effects {
		s.say(who, e)
		s.do(who, e)
	}
}

func isResend(in protocol.Input) bool {
	switch in := in.(type) {
	case protocol.Rang:
		return in.Timer.Name == protocol.TimerResend
	case protocol.RestoreRang:
		return true
	}
	return false
}

// news reports whether the effects hold more than timers and copies of what is
// on the wire.
func (s *stage) news(effects []protocol.Effect) bool {
	for _, e := range effects {
		if l, ok := asLetter("", e); ok {
			if !slices.ContainsFunc(s.wire, func(w letter) bool { return w.to == l.to && reflect.DeepEqual(w.msg, l.msg) }) {
				return true
			}
			continue
		}
		switch e.(type) {
		case protocol.SetTimer, protocol.RestoreTimer:
		default:
			return true
		}
	}
	return false
}

func (s *stage) doTimers(who string, effects []protocol.Effect) {
	for _, e := range effects {
		if _, send := asLetter(who, e); !send {
			s.do(who, e)
		}
	}
}

// asLetter returns the letter that an effect sends.
func asLetter(who string, e protocol.Effect) (letter, bool) {
	switch e := e.(type) {
	case protocol.Send:
		switch e.Msg.(type) {
		case protocol.Prepare, protocol.Probe, protocol.Arm, protocol.Cut, protocol.Disarm, protocol.Commit, protocol.Abort:
			return letter{who, string(e.Msg.About().Member), e.Msg}, true
		}
		return letter{who, coordinator, e.Msg}, true
	case protocol.RestoreSend:
		if e.Host != "" {
			return letter{who, string(e.Host), e.Msg}, true
		}
		return letter{who, coordinator, e.Msg}, true
	}
	return letter{}, false
}

func (s *stage) do(who string, e protocol.Effect) {
	if l, ok := asLetter(who, e); ok {
		s.wire, s.sent = append(s.wire, l), append(s.sent, l)
		return
	}
	switch e := e.(type) {
	case protocol.SetTimer:
		s.alarms = append(s.alarms, alarm{e.At, who, protocol.Rang{Timer: e.Timer}})
	case protocol.RestoreTimer:
		s.alarms = append(s.alarms, alarm{e.At, who, protocol.RestoreRang{}})
	case protocol.Notify, protocol.RestoreNotify, protocol.Discard, protocol.SetGate, protocol.Hush, protocol.Hushing:
	case protocol.End, protocol.RestoreDone:
		s.ended = e
		delete(s.actors, coordinator)
		s.forget(coordinator)
	default:
		s.tasks = append(s.tasks, task{who, e})
	}
}

// forget drops what an actor that is no more had under way.
func (s *stage) forget(who string) {
	s.tasks = slices.DeleteFunc(s.tasks, func(t task) bool { return t.who == who })
	s.alarms = slices.DeleteFunc(s.alarms, func(a alarm) bool { return a.who == who })
}

// advance lets time pass and rings the timers that fall due.
func (s *stage) advance(d time.Duration) {
	end := s.now.Add(d)
	for {
		sort.SliceStable(s.alarms, func(i, j int) bool { return s.alarms[i].at < s.alarms[j].at })
		if len(s.alarms) == 0 || s.alarms[0].at > end {
			s.now = end
			return
		}
		a := s.alarms[0]
		s.alarms = s.alarms[1:]
		s.now = max(s.now, a.at)
		s.step(a.who, a.input)
	}
}

// take removes the letters that match from the wire.
func (s *stage) take(match func(letter) bool) []letter {
	var out []letter
	s.wire = slices.DeleteFunc(s.wire, func(l letter) bool {
		if match(l) {
			out = append(out, l)
			return true
		}
		return false
	})
	return out
}

func (s *stage) deliver(ls []letter) {
	if len(ls) > 0 {
		s.advance(travel)
	}
	for _, l := range ls {
		switch m := l.msg.(type) {
		case protocol.Message:
			s.step(l.to, protocol.Received{Msg: m})
		case protocol.RestoreMessage:
			s.step(l.to, protocol.RestoreReceived{Msg: m})
		}
	}
}
