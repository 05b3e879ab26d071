package sim

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// Options of a history.
type Options struct {
	Variant Variant // a wrong protocol; the zero value is the real one
	Trace   bool    // keep the trace of the world; slow
	// Guests, when set, makes what runs in the VMs of a history. Then each
	// snapshot that exists is restored, and the guests judge what they find.
	Guests func(Site) Guests
	With   []string          // names of adversaries that take part in any case
	Cut    snapline.Strategy // of every round; drawn for each if empty
	Loud   bool              // no round silences its members, which hides mistakes of the cut
}

// Variant makes the protocol wrong on purpose, from outside the machines: by
// changing what they see and what they want done.
type Variant struct {
	AgentEvent       func(h *host, ev *protocol.Event)
	AgentEffects     func(h *host, ev protocol.Event, effects []protocol.Effect) []protocol.Effect
	CoordinatorEvent func(c *coordinator, ev *protocol.Event)
	Coordinator      func(c *coordinator, ev protocol.Event, effects []protocol.Effect) []protocol.Effect
	NoQuarantine     bool // packets of an abandoned timeline reach restored VMs
	KeptRules        bool // a restored VM finds the rules of its instant on its gate, for ever
}

// Report is what a history has come to.
type Report struct {
	Seed       uint64
	Plan       string   // members, adversaries, deadlines
	Violations []string // empty if all went as it must
	Guests     []string // those of them that the guests have found
	Stats      Stats
	Trace      []string
}

// World is one history: hosts, networks, and the adversaries that trouble them.
type World struct {
	now       moment
	queue     queue
	happened  uint64
	order     uint64
	random    random
	variant   Variant
	deadlines snapline.Deadlines

	hosts       []*host
	vms         []*vm
	coordinator *coordinator
	repository  *repository
	packets     []*packet
	guests      Guests            // nil: the VMs only talk
	cut         snapline.Strategy // see Options
	loud        bool
	probes      map[[3]uint64]snapline.Codepoint // round, sender, receiver

	adversaries []adversary
	storm       bool                    // adversaries are at work
	traffic     bool                    // VMs talk
	rounds      int                     // still to begin in the storm
	hushed      map[snapline.Round]bool // whose members were to be silent
	foreign     []float64               // how often each guest uses the POST codepoint itself
	failing     float64                 // how often an effect fails
	bleached    [2]int                  // a path that clears the mark: from, to; equal for none

	stats    Stats
	violated []string
	found    []string // violations that guests have found
	tracing  bool
	lines    []string
}

// Run runs the history that the seed stands for.
func Run(seed uint64, o Options) Report {
	w := &World{random: random{seed}, variant: o.Variant, cut: o.Cut, loud: o.Loud, tracing: o.Trace, stats: NewStats(),
		repository: newRepository(), probes: map[[3]uint64]snapline.Codepoint{}, hushed: map[snapline.Round]bool{}}
	plan := w.plan(o.With)
	if o.Guests != nil {
		w.boot(seed, o.Guests)
		w.runGuests()
	} else {
		w.run()
	}
	w.judge()
	w.stats.Histories, w.stats.Packets = 1, len(w.packets)
	return Report{seed, plan, w.violated, w.found, w.stats, w.lines}
}

// run lets the storm pass over a few rounds, waits for quiet, and then wants
// one more round to succeed in the calm.
func (w *World) run() {
	w.traffic = true
	for _, h := range w.hosts {
		h.boot()
		w.after(w.random.between(0, 5*time.Millisecond), h.vm.talk)
	}
	w.storm = len(w.adversaries) > 0
	calm := !w.storm
	w.roundEnded()
	w.until(w.now+moment(stormLimit), func() bool { return w.rounds < 0 })
	w.quiet()
	if calm && w.stats.Committed != w.stats.Rounds {
		w.fault("a round that nothing disturbed did not commit")
	}
	w.last()
}

// stormLimit bounds the storm; what it has begun must end in quietLimit.
const (
	stormLimit = 20 * time.Second
	quietLimit = 200 * time.Second
)

// roundEnded begins the next round of the storm, if there is to be one.
func (w *World) roundEnded() {
	w.rounds--
	if w.rounds < 0 || !w.traffic {
		return
	}
	w.after(w.random.spread(10*time.Microsecond, 50*time.Millisecond), w.round)
}

func (w *World) round() {
	cut := pick(&w.random, snapline.Colour, snapline.Colour, snapline.Barrier)
	if w.cut != "" {
		cut = w.cut
	}
	w.coordinator.begin(cut)
}

// quiet ends storm and traffic and lets everything that is under way end.
func (w *World) quiet() {
	w.say("the storm is over")
	w.storm, w.traffic = false, false
	for _, h := range w.hosts {
		if !h.alive {
			h.boot()
		}
	}
	w.until(w.now+moment(quietLimit), nil)
	w.judgeQuiet()
}

// last wants a round in the calm to succeed.
func (w *World) last() {
	if w.coordinator.running {
		return // a fault already
	}
	w.traffic, w.rounds = true, 0
	w.deadlines = snapline.DefaultDeadlines() // which leave time enough
	for _, h := range w.hosts {
		h.vm.talk()
	}
	before := w.stats.Committed
	w.coordinator.begin(pick(&w.random, snapline.Colour, snapline.Barrier))
	w.until(w.now+moment(stormLimit), func() bool { return !w.coordinator.running })
	if w.stats.Committed == before {
		w.fault("the round after the storm did not commit")
	}
	w.quiet()
}

// until lets things happen until the given moment, until there is nothing more
// to happen, or until done says so.
func (w *World) until(end moment, done func() bool) {
	for len(w.queue) > 0 && w.queue[0].at <= end && (done == nil || !done()) {
		h := w.queue.pop()
		w.now = h.at
		h.do()
	}
}

func (w *World) at(t moment, do func()) {
	w.happened++
	w.queue.push(happening{max(t, w.now), w.happened, do})
}

func (w *World) after(d time.Duration, do func()) { w.at(w.now+moment(d), do) }

// tick gives the next place in the order of what VMs do.
func (w *World) tick() uint64 { w.order++; return w.order }

// hostOf returns the host whose agent a process is, or nil.
func (w *World) hostOf(p *process) *host {
	for _, h := range w.hosts {
		if p == &h.process {
			return h
		}
	}
	return nil
}

// hot reports whether a gate or a pause is in force somewhere.
func (w *World) hot() bool {
	for _, h := range w.hosts {
		if h.vm.paused || h.gate.active() {
			return true
		}
	}
	return false
}

// path carries a probe: what is left of its mark, and whether it arrives.
func (w *World) path(from, to int) (snapline.Codepoint, bool) {
	if !w.storm {
		return snapline.PostCodepoint, true
	}
	f := fate{}
	for _, a := range w.adversaries {
		if a.packet != nil {
			a.packet(w, nil, &f)
		}
	}
	if w.bleached[0] != w.bleached[1] && w.bleached == [2]int{from, to} {
		return 0, !f.lost
	}
	return snapline.PostCodepoint, !f.lost
}

// stepped lets the adversaries see what a machine has just done.
func (w *World) stepped(p *process, in protocol.Input) {
	if !w.storm {
		return
	}
	for _, a := range w.adversaries {
		if a.step != nil {
			a.step(w, p, in)
		}
	}
}

func (w *World) trace(who string, at snapline.Instant, what any) {
	if w.tracing {
		w.lines = append(w.lines, w.stamp()+protocol.Line(who, at, what))
	}
}

func (w *World) say(format string, args ...any) {
	if w.tracing {
		w.lines = append(w.lines, w.stamp()+fmt.Sprintf("%28s", "")+fmt.Sprintf(format, args...))
	}
}

func (w *World) packetTrace(format, host string, p *packet) {
	if w.tracing {
		w.say(format, host, p)
	}
}

func (w *World) stamp() string { return fmt.Sprintf("%14.6f |", float64(w.now)/1e6) }
