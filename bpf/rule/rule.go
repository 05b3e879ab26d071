// Package rule exists so that what a gate does with one frame can be read, and
// checked against the eBPF program that does it, in plain Go. It is the
// specification of ../gate.c: testdata/vectors.txt and random frames drive both
// and they must agree, bit by bit.
package rule

import "github.com/snapline/snapline"

// Gate is a gate's settings; its methods are functions of them, a frame and
// the time alone.
type Gate struct {
	Post  snapline.Codepoint
	Rules snapline.GateRules
}

// Outcome is what becomes of one frame.
type Outcome struct {
	// Pass is whether the frame travels on, as Frame.
	Pass  bool
	Frame []byte
	// Counters is what this frame adds to the gate's counters.
	Counters snapline.GateCounters
	// Notice is whether the agent is to be told that the shield withheld it.
	Notice bool
	// Probe is set when the frame was a probe, which no counter counts.
	Probe *Probe
}

// Probe is what a gate learns from a probe that arrives.
type Probe struct {
	Nonce  uint64
	Sender uint32
	Seen   snapline.Codepoint
}

// FromVM judges a frame, from its Ethernet header on and without frame check
// sequence, that the VM sends at the time now. The frame is not changed.
func (g Gate) FromVM(frame []byte, now snapline.Instant) Outcome {
	mark, shield := now < g.Rules.MarkUntil, now < g.Rules.ShieldUntil
	if !mark && !shield {
		return passOut(frame)
	}
	kind, at := parse(frame)
	switch {
	case kind == arp:
		return passOut(frame)
	case kind == other:
		return nonIP()
	case !mark:
		return passOut(frame)
	}
	o := passOut(setCodepoint(frame, kind, at, g.Post))
	o.Counters.Marked = 1
	return o
}

// ToVM judges a frame on its way to the VM at the time now.
func (g Gate) ToVM(frame []byte, now snapline.Instant) Outcome {
	mark, shield := now < g.Rules.MarkUntil, now < g.Rules.ShieldUntil
	kind, at := parse(frame)
	if kind == arp || kind == other && !mark && !shield {
		return passIn(frame)
	}
	if kind == other {
		return nonIP()
	}
	if p := probe(frame, kind, at); p != nil {
		return Outcome{Probe: p}
	}
	if codepoint(frame, kind, at) != g.Post || discoversNeighbours(frame, kind, at) {
		return passIn(frame)
	}
	if shield {
		return Outcome{Counters: snapline.GateCounters{Withheld: 1}, Notice: true}
	}
	o := passIn(frame)
	o.Counters.Leaked = 1
	return o
}

func passOut(frame []byte) Outcome {
	return Outcome{Pass: true, Frame: frame, Counters: snapline.GateCounters{Out: 1}}
}

func passIn(frame []byte) Outcome {
	return Outcome{Pass: true, Frame: frame, Counters: snapline.GateCounters{In: 1}}
}

func nonIP() Outcome {
	return Outcome{Counters: snapline.GateCounters{NonIP: 1}}
}
