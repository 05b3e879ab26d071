package protocol_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// commands of the script language. WHO is a member (n1), a host (h1) or
// "coordinator"; KIND the name of a message or an effect.
//
//	take colour|barrier [hush=DURATION] MEMBER...  begin a round with these members
//	restore MEMBER=HOST... [stop=HOST...]  begin a restore
//	deliver [WHO [KIND]]            deliver what is on the wire to or from WHO
//	drop [WHO [KIND]]               lose it
//	replay WHO KIND ROUND           put an old letter on the wire again
//	complete WHO KIND [KEY=VALUE]   end an effect: leaked=N, reason="…", unseen=N,
//	                                seen=N:CODEPOINT, err="…", unhushed="…", silent=MEMBER,
//	                                heard=MEMBER
//	fail WHO KIND "TEXT"            end an effect with a failure
//	settle [except WHO [KIND]]      deliver and complete until nothing is left
//	advance DURATION                let time pass and timers ring
//	withheld WHO, gone WHO          what the gate, the VM says
//	lost WHO "TEXT", cancel         what the operator's side says
//	crash WHO, restart WHO
//	abort ROUND                     a successor ends a dead coordinator's round
//	show                            print every machine's state
//	quietly COMMAND                 leave out the trace, which another script shows
func (s *stage) command(line string) error {
	if quiet, ok := strings.CutPrefix(line, "quietly "); ok {
		err := s.command(quiet)
		s.taken()
		return err
	}
	w := words(line)
	name, args := w[0], w[1:]
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	member := snapline.MemberName(arg(0))
	switch name {
	case "take":
		return s.begin(snapline.Strategy(arg(0)), args[1:])
	case "restore":
		return s.beginRestore(args)
	case "deliver":
		ls := s.take(matching(arg(0), arg(1)))
		if len(ls) == 0 {
			return fmt.Errorf("no such letter on the wire: %s", s.onWire())
		}
		s.deliver(ls)
	case "drop":
		ls := s.take(matching(arg(0), arg(1)))
		if len(ls) == 0 {
			return fmt.Errorf("no such letter on the wire: %s", s.onWire())
		}
		for _, l := range ls {
			s.note("lost: %s from %s to %s", kindOf(l.msg), l.from, l.to)
		}
	case "replay":
		return s.replay(arg(0), arg(1), arg(2))
	case "complete":
		return s.complete(arg(0), arg(1), args[2:])
	case "fail":
		return s.fail(arg(0), arg(1), arg(2))
	case "settle":
		s.settle(func(who, kind string) bool {
			return arg(0) == "except" && who == arg(1) && (arg(2) == "" || kind == arg(2))
		})
	case "advance":
		d, err := time.ParseDuration(arg(0))
		if err != nil {
			return err
		}
		s.advance(d)
	case "withheld":
		s.step(arg(0), protocol.Withheld{Round: s.round})
	case "gone":
		s.step(arg(0), protocol.Gone{Round: s.round})
	case "lost":
		if s.group.Member(member) == nil {
			s.step(coordinator, protocol.HostLost{Host: snapline.HostName(arg(0)), Reason: snapline.Reason{Text: arg(1)}})
			return nil
		}
		s.step(coordinator, protocol.Lost{Member: member, Reason: snapline.Reason{Text: arg(1)}})
	case "cancel":
		s.step(coordinator, protocol.Cancelled{})
	case "crash":
		delete(s.actors, arg(0))
		s.forget(arg(0))
		s.note("%s crashes", arg(0))
	case "restart":
		s.start(arg(0))
		s.note("%s starts again as %s", arg(0), s.life(arg(0)))
	case "abort":
		return s.abort(arg(0))
	case "show":
		s.show()
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

func matching(who, kind string) func(letter) bool {
	return func(l letter) bool {
		return (who == "" || l.from == who || l.to == who) && (kind == "" || kindOf(l.msg) == kind)
	}
}

func (s *stage) onWire() string {
	var all []string
	for _, l := range s.wire {
		all = append(all, l.from+"→"+l.to+" "+kindOf(l.msg))
	}
	return strings.Join(all, ", ")
}

func (s *stage) life(who string) snapline.Incarnation {
	return snapline.Incarnation(string(rune('a' + s.lives[who] - 1)))
}

// start begins a life of a member's or a host's agent.
func (s *stage) start(who string) {
	s.lives[who]++
	if strings.HasPrefix(who, "h") {
		s.actors[who] = protocol.NewRestoreAgent(snapline.HostName(who), s.life(who))
		return
	}
	s.actors[who] = protocol.NewAgent(snapline.MemberName(who), s.life(who))
}

func (s *stage) begin(how snapline.Strategy, names []string) error {
	if s.actors[coordinator] != nil {
		return fmt.Errorf("the last round has not ended")
	}
	s.round++
	s.group = snapline.Group{Name: "g"}
	hush := snapline.Never
	if text, ok := strings.CutPrefix(names[0], "hush="); ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		hush, names = s.now.Add(d), names[1:]
	}
	for _, n := range names {
		s.group.Members = append(s.group.Members, snapline.Member{Name: snapline.MemberName(n), Host: snapline.HostName("h" + n[1:])})
		if s.lives[n] == 0 {
			s.start(n)
		}
	}
	s.actors[coordinator] = protocol.NewCoordinator(protocol.Begin{Group: s.group, Round: s.round, Strategy: how,
		Post: snapline.PostCodepoint, Deadlines: snapline.DefaultDeadlines(), Hush: hush})
	s.step(coordinator, protocol.Started{})
	return nil
}

func (s *stage) beginRestore(args []string) error {
	b := protocol.BeginRestore{Op: "r" + snapline.OperationID(strconv.Itoa(len(s.sent))), Place: map[snapline.MemberName]snapline.HostName{}}
	b.Snapshot = snapline.Snapshot{ID: "g-1", Group: snapline.Group{Name: "g"}}
	hosts := []string{}
	for _, a := range args {
		if a == "replay" {
			b.Replay = true
			continue
		}
		m, h, _ := strings.Cut(a, "=")
		if m == "quarantine" {
			d, err := time.ParseDuration(h)
			if err != nil {
				return err
			}
			b.Quarantine = d
			continue
		}
		hosts = append(hosts, h)
		if m == "stop" {
			b.Stop = append(b.Stop, snapline.HostName(h))
			continue
		}
		b.Place[snapline.MemberName(m)] = snapline.HostName(h)
		b.Snapshot.Group.Members = append(b.Snapshot.Group.Members, snapline.Member{Name: snapline.MemberName(m)})
		b.Snapshot.Members = append(b.Snapshot.Members, snapline.MemberSnapshot{Name: snapline.MemberName(m)})
	}
	for _, h := range hosts {
		if s.lives[h] == 0 {
			s.start(h)
		}
	}
	s.actors[coordinator] = protocol.NewRestore(b)
	s.step(coordinator, protocol.Started{})
	return nil
}

func (s *stage) replay(who, kind, round string) error {
	for _, l := range s.sent {
		m, ok := l.msg.(protocol.Message)
		if matching(who, kind)(l) && (!ok || fmt.Sprint(m.About().Round) == round) {
			s.wire = append(s.wire, l)
			return nil
		}
	}
	return fmt.Errorf("no such letter was ever sent")
}

func (s *stage) abort(round string) error {
	n, err := strconv.ParseUint(round, 10, 64)
	if err != nil {
		return err
	}
	for _, m := range s.group.Members {
		ref := protocol.Ref{Group: s.group.Name, Round: snapline.Round(n), Member: m.Name}
		s.wire = append(s.wire, letter{coordinator, string(m.Name), protocol.Abort{Ref: ref, Why: "its coordinator is gone"}})
	}
	return nil
}

// settle delivers and completes, turn by turn, until nothing is under way but
// what is excepted.
func (s *stage) settle(except func(who, kind string) bool) {
	for {
		ls := s.take(func(l letter) bool {
			return !except(l.from, kindOf(l.msg)) && !except(l.to, kindOf(l.msg))
		})
		s.deliver(ls)
		var done []task
		s.tasks = slices.DeleteFunc(s.tasks, func(t task) bool {
			if except(t.who, t.kind()) {
				return false
			}
			done = append(done, t)
			return true
		})
		if len(done) > 0 {
			s.advance(travel)
		}
		for _, t := range done {
			if r, err := s.result(t, nil); err == nil {
				s.step(t.who, r)
			}
		}
		if len(ls) == 0 && len(done) == 0 {
			return
		}
	}
}

func (s *stage) show() {
	names := []string{}
	for n := range s.actors {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		switch m := s.actors[n].(type) {
		case *protocol.Agent:
			s.note("%s is %s in round %d", n, m.State(), m.Round())
		case fmt.Stringer:
			s.note("%s: %v", n, m)
		case *protocol.Restore:
			s.note("%s: restore %s", n, m.Phase())
		}
	}
	if len(s.wire) > 0 {
		s.note("on the wire: %s", s.onWire())
	}
	for _, t := range s.tasks {
		s.note("under way: %s %s", t.who, t.kind())
	}
}
