package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// coordinator is the coordinator's process. Each round has a machine of its
// own; after a death a successor ends the dead one's round.
type coordinator struct {
	process
	machine  *protocol.Coordinator
	round    snapline.Round
	strategy snapline.Strategy
	running  bool // a round has begun and not ended
	hushing  bool // its members are to be silenced before it
	calm     bool // nothing disturbs this round: there is no storm, or no more
}

func newCoordinator(w *World, c clock) *coordinator {
	co := &coordinator{}
	co.process = process{w: w, name: "coordinator", clock: c, step: co.stepMachine, execute: co.execute}
	return co
}

// begin starts the next round.
func (c *coordinator) begin(s snapline.Strategy) {
	c.round, c.strategy = c.round+1, s
	b := protocol.Begin{Group: snapline.Group{Name: "g"}, Round: c.round, Strategy: s, Post: snapline.PostCodepoint, Deadlines: c.w.deadlines}
	for _, h := range c.w.hosts {
		b.Group.Members = append(b.Group.Members, snapline.Member{Name: snapline.MemberName(h.name), Host: snapline.HostName("h" + strconv.Itoa(h.member+1))})
	}
	if c.hushing = !c.w.loud && c.w.random.chance(0.3); c.hushing {
		b.Hush = c.now().Add(c.w.random.spread(c.w.deadlines.Arm, 2*protocol.HushSpan))
	}
	c.machine, c.running = protocol.NewCoordinator(b), true
	c.start()
	c.w.stats.Rounds++
	if c.calm = !c.w.storm; c.calm {
		c.w.stats.Calm++
	}
	c.input(protocol.Started{})
}

// crash kills the coordinator. Some time later its successor takes over: a
// round without a record is discarded, and the members are told once.
func (c *coordinator) crash() {
	if !c.alive || !c.running {
		return
	}
	c.w.say("the coordinator dies (%s)", c.machine.Phase())
	c.w.stats.CoordinatorCrashes[c.machine.Phase()]++
	c.die()
	round := c.round
	c.after(c.w.random.spread(2*time.Millisecond, 3*time.Second), func() {
		if _, ok := c.w.repository.records[round]; !ok {
			c.w.repository.discard(round)
		}
		c.w.letSpeak(round)
		c.running = false
		c.w.roundEnded()
	})
}

// letSpeak ends a round, and the silence that it has left, from outside.
func (w *World) letSpeak(round snapline.Round) {
	for _, h := range w.hosts {
		w.post(letter{member: h.member, toAgent: true, msg: protocol.Abort{
			Ref: protocol.Ref{Group: "g", Round: round, Member: snapline.MemberName(h.name)}, Why: "its coordinator is gone"}})
	}
}

func (c *coordinator) stepMachine(ev protocol.Event) []protocol.Effect {
	before := c.machine.Phase()
	if f := c.w.variant.CoordinatorEvent; f != nil {
		f(c, &ev)
	}
	effects := c.machine.Step(ev)
	if now := c.machine.Phase(); now == protocol.PhaseAbort && before != now {
		c.w.stats.Aborts[before]++
	}
	if f := c.w.variant.Coordinator; f != nil {
		effects = f(c, ev, effects)
	}
	return effects
}

func (c *coordinator) execute(e protocol.Effect, done func(bool)) {
	switch e := e.(type) {
	case protocol.Send:
		member, _ := strconv.Atoi(string(e.Msg.About().Member[1:]))
		c.w.post(letter{member: member - 1, toAgent: true, msg: e.Msg})
	case protocol.SetTimer:
		c.timer(e)
	case protocol.Record:
		c.record(e)
	case protocol.Discard:
		c.w.repository.discard(e.Round)
	case protocol.Notify:
	case protocol.Hushing:
		if e.Reasons == nil {
			c.w.hushed[e.Round] = true
		}
	case protocol.End:
		c.end(e)
		return // the process goes on, but this machine is done
	default:
		panic(fmt.Sprintf("sim: no such effect: %T", e))
	}
	done(true)
}

// record writes the record; an adversary may make the write fail, or only its
// confirmation.
func (c *coordinator) record(e protocol.Record) {
	c.after(c.w.random.spread(50*time.Microsecond, 3*time.Millisecond), func() {
		failure := ""
		if c.w.storm && c.w.random.chance(c.w.failing) {
			failure = "no space left on device"
		}
		if failure == "" || c.w.random.chance(0.3) {
			c.w.judgeRecord(e)
			if err := c.w.repository.commit(e); err != nil {
				failure = err.Error()
			}
		}
		c.after(c.w.random.spread(50*time.Microsecond, 3*time.Millisecond), func() {
			c.input(protocol.Recorded{Err: failure})
		})
	})
}

func (c *coordinator) end(e protocol.End) {
	c.w.judgeEnd(c.round, e)
	if e.Problem == nil && c.hushing && c.w.guests == nil && c.w.random.chance(0.5) {
		// Nobody is restored, and the members are let speak; else the kernel does that.
		round := c.round
		c.w.after(c.w.random.spread(time.Millisecond, 3*time.Second), func() { c.w.letSpeak(round) })
	}
	c.running = false
	c.die()
	c.w.roundEnded()
}

// watch is the failure detector: an agent that is silent for a while is lost.
// One that is back before is not, and its new life must be found out otherwise.
func (c *coordinator) watch(h *host, silent func() bool) {
	life := h.life
	c.w.after(lease, func() {
		if c.alive && h.life == life && silent() {
			c.w.stats.Lost++
			c.input(protocol.Lost{Member: snapline.MemberName(h.name), Reason: snapline.Reason{Text: "no sign of life"}})
		}
	})
}

// lease is after how long a silent agent is given up.
const lease = time.Second
