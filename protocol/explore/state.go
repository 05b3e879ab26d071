package explore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

const (
	most        = 3 // members
	coordinator = int8(-1)
	tick        = time.Second
	start       = snapline.Instant(1000 * time.Second)
)

// letter is a message under way between the coordinator and a member; to is the
// member's number, or coordinator.
type letter struct {
	to, about int8
	msg       protocol.Message
	key       key
}

// order sorts letters.
func (l letter) order(m letter) int {
	return cmp.Or(cmp.Compare(l.to, m.to), cmp.Compare(l.about, m.about), bytes.Compare(l.key[:], m.key[:]))
}

// record is how far the commit point is.
type record uint8

const (
	recordNone    record = iota
	recordBegun          // Record has been asked for
	recordAnswers        // written, or failed; Recorded is on its way
)

// budgets are what is left of each kind of trouble.
type budgets struct{ crashes, letters, failures, hurries, cancels int8 }

// state is one state of the world. Successors are copies that share what they
// have not changed: slices and machines are replaced, never changed in place.
type state struct {
	cfg *Config
	now snapline.Instant

	machine *protocol.Coordinator
	key     key  // of the machine, without what it knows of members
	alive   bool // the coordinator's process
	ended   bool // its round has ended, by itself or by its successor
	failed  bool // the round ended with a problem
	timers  []timer
	round   snapline.Round
	writing record
	writes  protocol.Record
	err     bool // Recorded will say that the write failed
	exists  bool // the record of the round

	members [most]member
	letters []letter
	left    budgets
	// orphans[i][j]: j was not cut yet when it received what i sent after its cut.
	orphans   [most][most]bool
	disturbed bool
	turn      int8 // of an action while it is taken
	fault     string
}

// number is that of the member that a message is about.
func number(m protocol.Message) int8 { return int8(m.About().Member[1] - '1') }

func name(i int8) snapline.MemberName { return snapline.MemberName(fmt.Sprintf("n%d", i+1)) }

// begin returns the first state: all agents idle, the round just started.
func begin(cfg *Config) *state {
	if cfg.plans == nil {
		cfg.plans = map[reflect.Type][]treatment{}
	}
	s := &state{cfg: cfg, now: start, left: budgets{int8(cfg.Crashes), int8(cfg.Letters), int8(cfg.Failures), int8(cfg.Hurries), int8(cfg.Cancels)}}
	for i := range int8(cfg.Members) {
		s.boot(i)
	}
	s.start(1)
	return s
}

// start begins a round.
func (s *state) start(r snapline.Round) {
	b := protocol.Begin{Group: snapline.Group{Name: "g"}, Round: r, Strategy: s.cfg.Strategy, Post: snapline.PostCodepoint, Deadlines: deadlines()}
	for i := range int8(s.cfg.Members) {
		b.Group.Members = append(b.Group.Members, snapline.Member{Name: name(i), Host: snapline.HostName(fmt.Sprintf("h%d", i+1))})
	}
	s.machine, s.round = protocol.NewCoordinator(b), r
	s.alive, s.ended, s.failed, s.timers, s.exists, s.writing = true, false, false, nil, false, recordNone
	s.step(coordinator, protocol.Started{}, all)
}

func (s *state) boot(i int8) {
	m := &s.members[i]
	m.life++
	m.alive, m.work, m.timers = true, 0, nil
	m.detach()
	m.agent = protocol.NewAgent(name(i), snapline.Incarnation(fmt.Sprintf("n%d.%d", i+1, m.life)))
	m.key = s.canonizer().of(i).agent(m.agent)
}

// clone returns a copy that may be changed.
func (s *state) clone() *state { t := *s; return &t }

func (s *state) canonizer() canonizer {
	return canonizer{now: s.now, plans: s.cfg.plans, alike: !s.cfg.Foreign}
}

// hopeless reports whether the round can no longer commit.
func (s *state) hopeless() bool {
	return !s.exists && (!s.alive || s.machine.Phase() == protocol.PhaseAbort)
}

// tidy makes states equal whose futures are.
func (s *state) tidy() {
	for i := range s.cfg.Members {
		s.members[i].tidy()
	}
	if s.ended || !s.alive { // nobody reads what the coordinator is sent
		for len(s.letters) > 0 && s.letters[0].to == coordinator {
			s.letters = s.letters[1:]
		}
	}
	if s.hopeless() || s.exists { // the cut is judged, or never will be
		s.orphans = [most][most]bool{}
		for i := range s.cfg.Members {
			s.members[i].sent, s.members[i].leaked = 0, false
		}
	}
	s.timers = keep(s.timers, func(n protocol.TimerName) bool {
		switch p := s.machine.Phase(); n {
		case protocol.TimerPrepare:
			return p == protocol.PhasePrepare || p == protocol.PhaseProbe
		case protocol.TimerArm:
			return p == protocol.PhaseArm
		case protocol.TimerCut:
			return p == protocol.PhaseCut
		}
		return true
	})
}

// id is the same for states that differ in which member is which only, where
// nothing else tells them apart: their futures differ in that, too, and no more.
func (s *state) id() key {
	c := s.canonizer()
	var blocks [most][]byte
	order := make([]int, s.cfg.Members)
	for i := range s.cfg.Members {
		order[i] = i
		b := make([]byte, 0, 256)
		b = s.members[i].canon(b, c)
		for _, l := range s.letters {
			if int(l.about) == i {
				b = append(append(b, bit(l.to == coordinator)), l.key[:]...)
			}
		}
		blocks[i] = b
	}
	if c.alike {
		slices.SortStableFunc(order, func(i, j int) int { return bytes.Compare(blocks[i], blocks[j]) })
	}
	b := make([]byte, 0, 1024)
	b = append(b, s.key[:]...)
	b = append(b, bit(s.alive)|bit(s.ended)<<1|bit(s.failed)<<2|bit(s.err)<<3|bit(s.exists)<<4|bit(s.disturbed)<<5, byte(s.writing), byte(s.round),
		byte(s.left.crashes), byte(s.left.letters), byte(s.left.failures), byte(s.left.hurries), byte(s.left.cancels))
	b = c.timers(b, s.timers)
	for _, i := range order {
		b = append(binary.AppendUvarint(b, uint64(len(blocks[i]))), blocks[i]...)
		for _, j := range order {
			b = append(b, bit(s.orphans[i][j]))
		}
	}
	return keyOf(b)
}

// post puts a message under way.
func (s *state) post(to int8, msg protocol.Message) {
	about := number(msg)
	c := s.canonizer().of(about)
	l := letter{to, about, msg, keyOf(append(c.canon(nil, reflect.ValueOf(msg)), reflect.TypeOf(msg).Name()...))}
	at, _ := slices.BinarySearchFunc(s.letters, l, letter.order)
	s.letters = slices.Concat(s.letters[:at], []letter{l}, s.letters[at:])
}

// learn works out anew how the coordinator's machine looks, and reports whether
// that has changed.
func (s *state) learn() (changed bool) {
	c := s.canonizer()
	k := c.coordinator(s.machine)
	changed, s.key = k != s.key, k
	for i := range s.cfg.Members {
		m := &s.members[i]
		k := c.knowledge(s.machine, int8(i))
		changed, m.known = changed || k != m.known, k
	}
	return changed
}

// still reports whether nothing is under way but timers and data packets.
func (s *state) still() bool {
	if len(s.letters) > 0 || s.writing != recordNone {
		return false
	}
	for i := range s.cfg.Members {
		if s.members[i].work != 0 {
			return false
		}
	}
	return true
}
