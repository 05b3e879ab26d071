package explore

import (
	"fmt"

	"github.com/snapline/snapline/protocol"
)

func (s *state) violate(format string, args ...any) {
	if s.fault == "" {
		s.fault = fmt.Sprintf(format, args...)
	}
}

// commit creates the record and judges it: it holds one local snapshot of every
// member, all of its round and stored, and no packet that was sent after its
// sender's was received before its receiver's.
func (s *state) commit() {
	s.exists = true
	if len(s.writes.Parts) != s.cfg.Members {
		s.violate("the record holds %d members of %d", len(s.writes.Parts), s.cfg.Members)
	}
	for i, p := range s.writes.Parts {
		if want := fmt.Sprintf("%s/%d", name(int8(i)), s.round); p.Object.Digest != want {
			s.violate("the record holds %s, not %s", p.Object.Digest, want)
		}
		if s.members[i].stored != s.round {
			s.violate("the record is written without the data of n%d", i+1)
		}
	}
	if s.round > 1 {
		return
	}
	for i := range s.cfg.Members {
		for j := range s.cfg.Members {
			if s.orphans[i][j] {
				s.violate("orphan: a packet that n%d sent after its cut was received by n%d before its own", i+1, j+1)
			}
		}
	}
}

// judgeEnd wants nothing to be left behind when all is over.
func (s *state) judgeEnd() {
	if !s.ended {
		s.violate("the round does not end: %v", s.machine)
	}
	if !s.disturbed && !s.exists {
		s.violate("a round that nothing disturbed does not commit")
	}
	for i := range s.cfg.Members {
		m := &s.members[i]
		switch {
		case m.agent.State() != protocol.AgentIdle:
			s.violate("n%d is not idle in the end: %v", i+1, m.agent)
		case m.attached:
			s.violate("n%d: a gate is left behind", i+1)
		case m.paused:
			s.violate("n%d: the VM is left paused", i+1)
		}
	}
}

// settled reports whether no record of the round can hold an orphan any more.
func (s *state) settled() bool {
	if s.hopeless() || s.exists {
		return true
	}
	for i := range s.cfg.Members {
		if s.members[i].cut == 0 || s.orphans[i] != [most]bool{} {
			return false
		}
	}
	return true
}
