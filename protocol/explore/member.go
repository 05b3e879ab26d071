package explore

import (
	"encoding/binary"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// work is a set of what a member has begun and not completed.
type work uint16

const (
	checking work = 1 << iota
	probing
	pausing
	pauseSeen // paused; Paused is on its way
	snapping
	snapSeen // the instant has passed; Snapped is on its way
	closing
	storing
	dropping
	works = iota
)

var workNames = [works]string{"Check", "ProbePaths", "PauseVM", "Paused", "Snap", "Snapped", "CloseGate", "Store", "Dropped"}

// sent is a set of kinds of packets that a VM has ever sent to each other one.
// Unmarked ones from before the cut move nothing and are not among them.
type sent uint8

const (
	markedBefore sent = 1 << iota // the sender's cut
	markedAfter
	plainAfter
	sentKinds = iota
)

var sentNames = [sentKinds]string{"a marked packet from before the cut", "a marked packet from after the cut", "an unmarked packet from after the cut"}

// timer is a timer that has been set.
type timer struct {
	protocol.Timer
	at snapline.Instant // Never for those that only make somebody impatient
}

// member is a host with its agent, its VM and its gate.
type member struct {
	agent *protocol.Agent // never stepped in place: states share it
	key   key
	known key // what the coordinator knows of it
	alive bool
	life  int8
	round snapline.Round // of the work
	work  work
	// timers of this life, sorted. Never changed in place.
	timers []timer

	attached     bool
	mark, shield snapline.Instant
	leaked       bool
	armed        snapline.Instant // when the first rule or the pause was set

	paused bool
	until  snapline.Instant // the guard resumes the VM then

	sent   sent
	cut    snapline.Round // the last round in which the VM was captured
	stored snapline.Round // the last round whose data is in the repository
}

func (m *member) canon(b []byte, c canonizer) []byte {
	b = append(append(b, m.key[:]...), m.known[:]...)
	b = append(b, bit(m.alive)|bit(m.attached)<<1|bit(m.leaked)<<2|bit(m.paused)<<3, byte(m.life), byte(m.sent), byte(m.cut), byte(m.stored), byte(m.round))
	b = binary.AppendUvarint(b, uint64(m.work))
	for _, at := range []snapline.Instant{m.mark, m.shield, m.until, m.armed} {
		b = c.instant(b, at)
	}
	return c.timers(b, m.timers)
}

func (c canonizer) timers(b []byte, ts []timer) []byte {
	b = append(b, byte(len(ts)))
	for _, t := range ts {
		b = append(append(b, t.Name...), byte(t.Round))
		b = append(b, bit(t.at == snapline.Never))
		b = c.instant(b, max(t.at, c.now)) // one that is over is over
	}
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// tidy forgets the timers that the agent no longer waits for, as its state says.
func (m *member) tidy() {
	m.timers = keep(m.timers, func(n protocol.TimerName) bool {
		switch st := m.agent.State(); n {
		case protocol.TimerReady:
			return st == protocol.AgentChecking || st == protocol.AgentReady
		case protocol.TimerGate:
			return st == protocol.AgentPausing || st == protocol.AgentArmed || st == protocol.AgentCutting || st == protocol.AgentMarked
		default:
			return st != protocol.AgentIdle && st != protocol.AgentDropping
		}
	})
}

func keep(ts []timer, wanted func(protocol.TimerName) bool) []timer {
	if !slices.ContainsFunc(ts, func(t timer) bool { return !wanted(t.Name) }) {
		return ts
	}
	return slices.DeleteFunc(slices.Clone(ts), func(t timer) bool { return !wanted(t.Name) })
}

// drop ends whatever the round has here.
func (m *member) drop() {
	m.work = 0
	m.detach()
	m.paused = false
}

func (m *member) detach() {
	m.attached, m.mark, m.shield, m.leaked = false, snapline.Never, snapline.Never, false
}

// talk adds the kinds of packets that the VM sends in the present state.
func (m *member) talk(now snapline.Instant, foreign bool) {
	if m.paused {
		return
	}
	marks := m.attached && now < m.mark
	switch {
	case m.cut == 0 && (marks || foreign):
		m.sent |= markedBefore
	case m.cut > 0 && marks:
		m.sent |= markedAfter
	case m.cut > 0:
		m.sent |= plainAfter
	}
}
