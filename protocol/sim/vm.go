package sim

import "time"

// vm is a virtual machine: all that it does is to talk to the others.
type vm struct {
	w       *World
	member  int
	paused  bool
	since   moment // of the pause
	loaded  bool   // by a restore, which paused it and will let it run
	pauses  int    // so far; tells the guard of one pause from the next
	waiting []*packet
	guest   Guest // nil: the VM only talks
	// timeline counts the restores; until quarantine ends, packets of another
	// timeline do not reach the VM.
	timeline   int
	quarantine moment
}

// pause stops the VM. The guard lets it run after atMost on its host's clock,
// whatever has become of the agent.
func (v *vm) pause(c clock, atMost time.Duration) {
	if v.paused {
		return
	}
	v.paused, v.since = true, v.w.now
	if v.guest != nil {
		v.guest.Pause()
	}
	v.pauses++
	nth := v.pauses
	v.w.at(c.when(c.read(v.w.now).Add(atMost)), func() {
		if v.paused && v.pauses == nth {
			v.w.stats.Guarded++
			v.resume()
		}
	})
}

// resume lets the VM run: what came for it meanwhile waited in the tap.
func (v *vm) resume() {
	if !v.paused || v.loaded {
		return // it runs, or is not the one that the round has paused
	}
	v.w.judgePause(v.w.hosts[v.member], v.since)
	v.run()
}

func (v *vm) run() {
	v.paused, v.loaded = false, false
	if v.guest != nil {
		v.guest.Resume()
	}
	for _, p := range v.waiting {
		v.receive(p)
	}
	v.waiting = nil
}

func (v *vm) receive(p *packet) {
	if v.paused {
		v.waiting = append(v.waiting, p)
		return
	}
	if p.got == 0 {
		p.got = v.w.tick()
	}
	if v.guest != nil {
		v.guest.Receive(p.frame)
		return
	}
	if v.w.traffic && v.w.random.chance(0.25) { // a request wants an answer
		v.w.after(v.w.random.spread(20*time.Microsecond, time.Millisecond), func() { v.send(p.from, false) })
	}
}

// send sends a packet to another member, in the POST colour if the guest itself
// uses that codepoint.
func (v *vm) send(to int, post bool) {
	if v.paused {
		return
	}
	v.dispatch(&packet{from: v.member, to: to, post: post})
}

func (v *vm) dispatch(p *packet) {
	p.sent, p.timeline = v.w.tick(), v.timeline
	v.w.packets = append(v.w.packets, p)
	if v.w.hosts[v.member].gate.out(p) {
		v.w.carry(p)
	}
}

// talk sends now and then for as long as there is traffic: in bursts while a
// cut may be under way, seldom otherwise.
func (v *vm) talk() {
	if !v.w.traffic || v.guest != nil {
		return
	}
	to := v.w.random.below(len(v.w.vms) - 1)
	if to >= v.member {
		to++
	}
	v.send(to, v.w.storm && v.w.random.chance(v.w.foreign[v.member]))
	pause := v.w.random.spread(20*time.Millisecond, 600*time.Millisecond)
	if v.w.hot() {
		pause = v.w.random.spread(50*time.Microsecond, 10*time.Millisecond)
	}
	v.w.after(pause, v.talk)
}
