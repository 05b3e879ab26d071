package node

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// roster knows which agents are alive.
type roster struct {
	clock Clock
	// silence is how long after its last hello a host's lease has surely run out.
	silence time.Duration
	// began is when this coordinator did: an earlier one may have answered every
	// host just before. Until former no lease of an earlier one has surely run out.
	began, former snapline.Instant
	mu            sync.Mutex
	hosts         map[snapline.HostName]*hostState
	last          snapline.Instant // of silent
}

type hostState struct {
	hello
	at     snapline.Instant
	wall   time.Time
	online bool
	former []snapline.Incarnation // earlier lives, the latest few
}

// formerLives is how many earlier lives of an agent are remembered.
const formerLives = 8

// inFlight is for packets that had passed a gate before it closed, to arrive or
// be lost.
const inFlight = 250 * time.Millisecond

func newRoster(c Clock, lease time.Duration) *roster {
	return &roster{clock: c, silence: silenceOf(lease), began: c.Now(), hosts: map[snapline.HostName]*hostState{}}
}

// silenceOf is how long after a host's last hello its lease has surely run out.
func silenceOf(lease time.Duration) time.Duration {
	return snapline.LeaseOver(0, lease).Sub(0) + inFlight
}

// What a hello tells beside that the agent lives.
type helloNews int

const (
	helloAgain    helloNews = iota
	helloJoined             // for the first time
	helloReturned           // after it was lost
	helloRefused            // the life that says hello has been taken over from
)

// seen notes a hello. A new life takes over from the one before, as after a
// restart. When a life that has been taken over from says hello, two agents of
// one name are alive, and this one has to go.
func (r *roster) seen(h hello) helloNews {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &hostState{hello: h, at: r.clock.Now(), wall: r.clock.Wall(), online: true}
	news := helloJoined
	if s := r.hosts[h.Host]; s != nil {
		if slices.Contains(s.former, h.Incarnation) {
			return helloRefused
		}
		if news = helloAgain; !s.online {
			news = helloReturned
		}
		next.former = s.former
		if s.Incarnation != h.Incarnation {
			next.former = append(s.former[max(0, len(s.former)-formerLives+1):], s.Incarnation)
		}
	}
	r.hosts[h.Host] = next
	return news
}

// online reports whether the host's agent is alive.
func (r *roster) online(h snapline.HostName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.hosts[h]
	return s != nil && s.online
}

// unheardLeases is for how many leases a new coordinator waits for the agents of
// its predecessor: they have to find it first.
const unheardLeases = 3

// out reports whether the host's lease has surely run out: from then on what
// runs there of protected groups talks to nobody.
func (r *roster) out(h snapline.HostName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if now < r.former {
		return false // it may not have heard of ours yet
	}
	if s := r.hosts[h]; s != nil {
		return !s.online
	}
	return now.Sub(r.began) > unheardLeases*r.silence
}

// has returns what the host last said, and whether it is online.
func (r *roster) has(h snapline.HostName) (hello, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.hosts[h]; s != nil {
		return s.hello, s.online
	}
	return hello{}, false
}

// list returns every host that was ever heard of, by name.
func (r *roster) list() []snapline.HostStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]snapline.HostStatus, 0, len(r.hosts))
	for _, s := range r.hosts {
		st := snapline.HostStatus{Name: s.Host, Agent: "offline", Incarnation: s.Incarnation, Version: s.Version, Hypervisor: s.Hypervisor, LastSeen: s.wall,
			MemoryBytes: s.MemoryBytes, AvailableBytes: s.AvailableBytes, Cores: s.Cores}
		if s.online {
			st.Agent = "online"
		}
		out = append(out, st)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// watch calls lost for every agent that falls silent, until ctx ends.
func (r *roster) watch(ctx context.Context, lost func(snapline.HostName, string)) {
	tick := time.NewTicker(rosterLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, h := range r.silent() {
			lost(h, "the agent has not been heard of for "+r.silence.Round(100*time.Millisecond).String())
		}
	}
}

// watched reports whether watch is at work.
func (r *roster) watched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock.Now().Sub(r.last) < aliveFor
}

// deafFor is how long watch may be late before the time counts as one in which
// nobody listened: this program was stopped, or its machine was.
const deafFor = time.Second

// silent finds the hosts that have just fallen silent. Time in which nobody listened
// is not silence: whoever wakes up and took all hosts for lost would bring every
// group back that runs.
func (r *roster) silent() []snapline.HostName {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if deaf := now.Sub(r.last); r.last != snapline.Never && deaf > deafFor {
		r.began = r.began.Add(deaf)
		for _, s := range r.hosts {
			s.at = min(now, s.at.Add(deaf))
		}
	}
	r.last = now
	var gone []snapline.HostName
	for _, s := range r.hosts {
		if s.online && now.Sub(s.at) > r.silence {
			s.online = false
			gone = append(gone, s.Host)
		}
	}
	return gone
}
