package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline/protocol"
)

// packet is one data packet between two VMs. sent and got are places in the
// order of everything that VMs do; got is 0 as long as it has not arrived.
type packet struct {
	from, to  int
	sent, got uint64
	post      bool
	left      bool   // its sender's host: anybody may have seen it
	frame     []byte // what a guest has sent; nil for an abstract packet
	timeline  int    // in which it was sent: how often the group had been restored
}

func (p *packet) String() string {
	return fmt.Sprintf("packet %d n%d→n%d", p.sent, p.from+1, p.to+1)
}

// fate is what becomes of a message or packet on its way.
type fate struct {
	lost  bool
	delay time.Duration
	again []time.Duration // copies, each with its own delay
}

// carry brings a packet to its receiver's gate: late, twice, or not at all.
func (w *World) carry(p *packet) {
	f := fate{delay: w.random.spread(30*time.Microsecond, 2*time.Millisecond)}
	if w.storm {
		for _, a := range w.adversaries {
			if a.packet != nil {
				a.packet(w, p, &f)
			}
		}
	}
	arrive := func() { w.hosts[p.to].gate.in(p) }
	if !f.lost {
		w.after(f.delay, arrive)
	}
	for _, d := range f.again {
		w.after(d, arrive)
	}
}

// letter is one message of the control network; member is its agent's side.
type letter struct {
	member  int
	toAgent bool
	msg     protocol.Message
}

// post hands a letter to the control network, which keeps no order.
func (w *World) post(l letter) {
	f := fate{delay: w.random.spread(50*time.Microsecond, time.Millisecond)}
	if w.storm {
		for _, a := range w.adversaries {
			if a.letter != nil {
				a.letter(w, l, &f)
			}
		}
	}
	arrive := func() { w.receiver(l).input(protocol.Received{Msg: l.msg}) }
	if f.lost {
		w.stats.LettersLost++
	} else {
		w.after(f.delay, arrive)
	}
	for _, d := range f.again {
		w.after(d, arrive)
	}
}

func (w *World) receiver(l letter) *process {
	if l.toAgent {
		return &w.hosts[l.member].process
	}
	return &w.coordinator.process
}
