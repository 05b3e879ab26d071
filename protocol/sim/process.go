package sim

import (
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// process is a program that drives one state machine by one imperative loop:
// one event at a time, its effects in order, then the next event. When it dies
// everything that it had under way dies with it, and what it set in the kernel
// stays or goes as the kernel has it.
type process struct {
	w     *World
	name  string
	clock clock
	alive bool
	life  int  // grows with every start and every death
	busy  bool // the loop is in the middle of an effect, or stalled
	inbox []protocol.Input

	step func(protocol.Event) []protocol.Effect
	// execute begins an effect and calls done when the next one may be executed;
	// done(false) when it failed, and the rest must not be.
	execute func(e protocol.Effect, done func(ok bool))
}

func (p *process) now() snapline.Instant { return p.clock.read(p.w.now) }

// after does f later, unless the process has died meanwhile.
func (p *process) after(d time.Duration, f func()) {
	life := p.life
	p.w.after(d, func() {
		if p.life == life {
			f()
		}
	})
}

// input hands the loop one event.
func (p *process) input(in protocol.Input) {
	if !p.alive {
		return
	}
	p.inbox = append(p.inbox, in)
	p.pump()
}

func (p *process) pump() {
	for p.alive && !p.busy && len(p.inbox) > 0 {
		in := p.inbox[0]
		p.inbox = p.inbox[1:]
		ev := protocol.Event{At: p.now(), Input: in}
		p.w.trace(p.name, ev.At, in)
		p.busy = true
		effects := p.step(ev)
		p.w.stepped(p, in)
		if p.alive {
			p.run(effects)
		}
	}
}

// run executes effects in order; it is busy until the last one is done.
func (p *process) run(effects []protocol.Effect) {
	p.busy = true
	if len(effects) == 0 {
		p.busy = false
		return
	}
	e, life, sync := effects[0], p.life, true
	p.w.trace(p.name, p.now(), e)
	p.execute(e, func(ok bool) {
		if p.life != life {
			return
		}
		if ok {
			p.run(effects[1:])
		} else {
			p.busy = false
		}
		if !sync {
			p.pump()
		}
	})
	sync = false
}

// timer does what SetTimer asks.
func (p *process) timer(t protocol.SetTimer) {
	life := p.life
	p.w.at(p.clock.when(t.At), func() {
		if p.life == life {
			p.input(protocol.Rang{Timer: t.Timer})
		}
	})
}

// stall stops the loop for a time, as an overloaded host does; what it has set
// in the kernel goes on.
func (p *process) stall(d time.Duration) {
	if p.busy || !p.alive {
		return
	}
	p.busy = true
	p.after(d, func() { p.busy = false; p.pump() })
}

func (p *process) start() { p.life++; p.alive, p.busy, p.inbox = true, false, nil }

func (p *process) die() { p.life++; p.alive, p.busy, p.inbox = false, false, nil }
