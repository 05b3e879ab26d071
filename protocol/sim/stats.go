package sim

import "github.com/snapline/snapline/protocol"

// Stats count what histories have been through, so that one can see that the
// simulation reaches the places where the protocol could be wrong.
type Stats struct {
	Histories, Rounds, Committed int
	Calm, CalmCommitted          int // of Rounds and Committed, those that nothing disturbed
	Orphans                      int
	Packets, Withheld, Early     int
	Restored, Quarantined        int // groups of guests; packets of an abandoned timeline kept out
	Leaks, Late, Guarded         int // refusals for a leak, past Dc; pauses ended by the guard
	Lost, Failures, LettersLost  int
	Hushed, Heard                int                    // silences of members; packets that left in one
	Aborts                       map[protocol.Phase]int // by the phase that they ended
	Crashes                      map[protocol.AgentState]int
	CoordinatorCrashes           map[protocol.Phase]int
}

// NewStats returns counts of nothing.
func NewStats() Stats {
	return Stats{Aborts: map[protocol.Phase]int{}, Crashes: map[protocol.AgentState]int{}, CoordinatorCrashes: map[protocol.Phase]int{}}
}

// agent counts what an agent's step was.
func (s *Stats) agent(in protocol.Input, before, after protocol.AgentState) {
	switch in := in.(type) {
	case protocol.Withheld:
		if after == protocol.AgentCutting && before != after {
			s.Early++
		}
	case protocol.Snapped:
		switch {
		case before != protocol.AgentCutting || after != protocol.AgentDropping:
		case in.Leaked > 0:
			s.Leaks++
		default:
			s.Late++
		}
	}
}

// Add adds the counts of another history.
func (s *Stats) Add(t Stats) {
	s.Histories += t.Histories
	s.Rounds += t.Rounds
	s.Committed += t.Committed
	s.Calm += t.Calm
	s.CalmCommitted += t.CalmCommitted
	s.Orphans += t.Orphans
	s.Packets += t.Packets
	s.Restored += t.Restored
	s.Quarantined += t.Quarantined
	s.Withheld += t.Withheld
	s.Early += t.Early
	s.Leaks += t.Leaks
	s.Late += t.Late
	s.Guarded += t.Guarded
	s.Lost += t.Lost
	s.Failures += t.Failures
	s.LettersLost += t.LettersLost
	s.Hushed += t.Hushed
	s.Heard += t.Heard
	addCounts(s.Aborts, t.Aborts)
	addCounts(s.Crashes, t.Crashes)
	addCounts(s.CoordinatorCrashes, t.CoordinatorCrashes)
}

func addCounts[K comparable](to, from map[K]int) {
	for k, n := range from {
		to[k] += n
	}
}
