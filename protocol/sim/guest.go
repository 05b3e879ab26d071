package sim

import (
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

// Guest is the inside of one VM, where it is more than a source of abstract
// packets: it has a state that can be saved and loaded. It is called from one
// goroutine.
type Guest interface {
	// Receive takes an Ethernet frame that has passed the gate.
	Receive(frame []byte)
	// Pause stops it and its clock; Resume lets both go on.
	Pause()
	Resume()
	// Talk lets its applications send, for as long as Site.Talk says so. A guest
	// that was loaded begins by itself.
	Talk()
	// Save returns all that it is at this moment.
	Save() any
	// Stop ends it for good.
	Stop()
}

// Guests are the guests of one history.
type Guests interface {
	// Boot returns a new guest for each member, running.
	Boot() []Guest
	// Load returns a guest, paused, that goes on from what Save has returned.
	Load(member int, state any) Guest
	// Judge says what is wrong with what the guests have got from one another.
	// Once the network has been quiet for long enough, nothing may be missing.
	Judge(quiet bool) []string
}

// Site is what guests may ask of the world around them.
type Site struct {
	w *World
	// Seed is the history's.
	Seed uint64
}

// Members returns how many guests there are; they are numbered from 0.
func (s Site) Members() int { return len(s.w.hosts) }

// Now returns the true time since the history began.
func (s Site) Now() time.Duration { return time.Duration(s.w.now) }

// At calls f at a time, or at once if it is past.
func (s Site) At(t time.Duration, f func()) { s.w.at(moment(t), f) }

// Talk reports whether applications are to go on sending.
func (s Site) Talk() bool { return s.w.traffic }

// Hot reports whether a cut may be under way: then packets matter most.
func (s Site) Hot() bool { return s.w.hot() }

// Say adds a line to the history's trace.
func (s Site) Say(format string, args ...any) { s.w.say(format, args...) }

// Send takes an Ethernet frame that a running guest sends.
func (s Site) Send(from, to int, frame []byte) {
	p := &packet{from: from, to: to, frame: frame}
	if s.w.storm && s.w.random.chance(s.w.foreign[from]) {
		p.colour(true)
	}
	s.w.vms[from].dispatch(p)
}

// colour sets or clears the POST codepoint where no gate does it: in the guest,
// or in the network.
func (p *packet) colour(post bool) {
	p.post = post
	if p.frame != nil {
		g := rule.Gate{Rules: snapline.GateRules{MarkUntil: 1}}
		if post {
			g.Post = snapline.PostCodepoint
		}
		p.frame = g.FromVM(p.frame, 0).Frame
	}
}

func (v *vm) save() any {
	if v.guest == nil {
		return nil
	}
	return v.guest.Save()
}

// boot puts a guest into each VM.
func (w *World) boot(seed uint64, guests func(Site) Guests) {
	w.guests = guests(Site{w, seed})
	for i, g := range w.guests.Boot() {
		w.vms[i].guest = g
	}
}

// runGuests takes snapshots in the storm and one in the calm, brings each that
// exists back, and wants the guests to find nothing wrong then.
func (w *World) runGuests() {
	for _, h := range w.hosts {
		h.boot()
	}
	for n := w.rounds; n >= 0 && len(w.violated) == 0; n-- {
		w.storm, w.traffic, w.rounds = len(w.adversaries) > 0 && n > 0, true, 0
		if n == 0 {
			w.deadlines = snapline.DefaultDeadlines()
		}
		for _, v := range w.vms {
			v.guest.Talk()
		}
		w.round()
		w.until(w.now+moment(stormLimit), func() bool { return !w.coordinator.running })
		// What comes after the cut is lost, and must be sent another time.
		after := w.now + moment(w.random.spread(time.Millisecond, 500*time.Millisecond))
		w.until(after, nil)
		if rec, ok := w.repository.records[w.coordinator.round]; ok {
			w.restore(rec)
		}
		w.quiet()
		w.judgeGuests(true)
	}
	for _, v := range w.vms {
		v.guest.Stop()
	}
}

func (w *World) judgeGuests(quiet bool) {
	for _, v := range w.guests.Judge(quiet) {
		w.found = append(w.found, v)
		w.fault(v)
	}
}
