package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

const (
	// lifetime is more than the time that any packet stays under way: what the
	// adversaries add, and what every packet takes.
	lifetime = 2100 * time.Millisecond
	// restoreLimit is more than a restore takes in the calm.
	restoreLimit = time.Minute
)

// restore brings a snapshot back, by the machines that do it in the product. The
// control network loses and repeats some of what they say; otherwise it is calm,
// but what the abandoned VMs have sent may still be under way.
func (w *World) restore(rec protocol.Record) {
	w.say("restore of round %d", rec.Round)
	w.storm = false
	for _, h := range w.hosts {
		if !h.alive {
			h.boot()
		}
	}
	r := &restoration{w: w, agents: map[snapline.HostName]*process{}}
	b := protocol.BeginRestore{Op: snapline.OperationID(fmt.Sprint("restore-", rec.Round)), Place: map[snapline.MemberName]snapline.HostName{}}
	for i, h := range w.hosts {
		name, member := snapline.HostName(fmt.Sprint("h", i+1)), snapline.MemberName(h.name)
		b.Place[member] = name
		b.Snapshot.Group.Members = append(b.Snapshot.Group.Members, snapline.Member{Name: member, Host: name})
		b.Snapshot.Members = append(b.Snapshot.Members, rec.Parts[i])
		r.agents[name] = r.agent(h, name)
	}
	r.lead = &process{w: w, name: "restore", clock: w.coordinator.clock, step: protocol.NewRestore(b).Step, execute: r.execute}
	r.lead.start()
	r.lead.input(protocol.Started{})
	w.until(w.now+moment(restoreLimit), func() bool { return r.done != nil })
	if r.done == nil || r.done.Problem != nil {
		w.fault(fmt.Sprintf("a restore in the calm did not succeed: %+v", r.done))
		return
	}
	w.stats.Restored++
}

// restoration is one restore under way.
type restoration struct {
	w      *World
	lead   *process
	agents map[snapline.HostName]*process
	done   *protocol.RestoreDone
}

func (r *restoration) agent(h *host, name snapline.HostName) *process {
	p := &process{w: r.w, name: string(name), clock: h.clock,
		step: protocol.NewRestoreAgent(name, snapline.Incarnation(fmt.Sprintf("%s.%d", name, h.lives))).Step}
	p.execute = func(e protocol.Effect, done func(bool)) {
		switch e := e.(type) {
		case protocol.RestoreSend:
			r.post(r.lead, e.Msg)
		case protocol.Act:
			p.after(h.takes(100*time.Microsecond, 300*time.Millisecond), func() {
				p.input(h.act(e))
			})
		default:
			panic(fmt.Sprintf("sim: no such effect: %T", e))
		}
		done(true)
	}
	p.start()
	return p
}

func (r *restoration) execute(e protocol.Effect, done func(bool)) {
	switch e := e.(type) {
	case protocol.RestoreSend:
		r.post(r.agents[e.Host], e.Msg)
	case protocol.RestoreTimer:
		r.w.at(r.lead.clock.when(e.At), func() { r.lead.input(protocol.RestoreRang{}) })
	case protocol.RestoreNotify:
	case protocol.RestoreDone:
		r.done = &e
		r.lead.die()
		return
	default:
		panic(fmt.Sprintf("sim: no such effect: %T", e))
	}
	done(true)
}

func (r *restoration) post(to *process, msg protocol.RestoreMessage) {
	arrive := func() { to.input(protocol.RestoreReceived{Msg: msg}) }
	if !r.w.random.chance(0.05) {
		r.w.after(r.w.random.spread(50*time.Microsecond, time.Millisecond), arrive)
	}
	if r.w.random.chance(0.05) {
		r.w.after(r.w.random.spread(50*time.Microsecond, 100*time.Millisecond), arrive)
	}
}

// act does a restore's work on one host.
func (h *host) act(e protocol.Act) protocol.Acted {
	v := h.vm
	switch e.Phase {
	case protocol.RestoreStop:
		h.input(protocol.Gone{Round: h.agent.Round()})
		v.guest.Stop()
		h.silence(h.hush.round, snapline.Never)
		v.paused, v.loaded = true, true
		v.pauses++ // of which no guard knows
		// Nothing of the abandoned timeline, from here on.
		v.timeline++
		v.quarantine = moment(1 << 62)
	case protocol.RestoreLoad:
		i := h.w.repository.data[e.Plan.Members[0].Object.Digest]
		v.waiting = nil // there was no tap that they could wait in
		v.guest = h.w.guests.Load(h.member, i.state)
		if h.w.variant.KeptRules {
			h.gate.open(i.round)
			h.gate.rules = snapline.GateRules{MarkUntil: 1 << 62, ShieldUntil: 1 << 62}
		}
	case protocol.RestoreOpen:
		v.quarantine = h.w.now + moment(lifetime)
		v.run()
	}
	return protocol.Acted{Op: e.Op, Phase: e.Phase}
}

// abandoned reports whether the quarantine keeps a packet from its receiver.
func (w *World) abandoned(p *packet) bool {
	v := w.vms[p.to]
	return p.timeline != v.timeline && w.now < v.quarantine && !w.variant.NoQuarantine
}
