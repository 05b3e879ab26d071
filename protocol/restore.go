package protocol

import (
	"fmt"
	"maps"
	"sort"
	"time"

	"github.com/snapline/snapline"
)

// Restore drives one restore of a whole group: PLAN everything that can be
// known beforehand, STOP every living instance, LOAD all members paused, OPEN
// them together, and, if that is asked for, REPLAY the packets that were in transit.
// Until every plan is good nothing is touched; a restore that
// fails later leaves the snapshot as it was and may simply be tried again.
type Restore struct {
	phase   RestorePhase
	begin   BeginRestore
	hosts   []*restoreHost
	problem *snapline.Error
	now     snapline.Instant // of the present event
	opened  bool             // somebody may have been told to let members run
	// settled is until when OPEN has to wait for packets to die that carry the
	// codepoint of this restore's quarantine, and are of an earlier one's.
	coloured bool
	settled  snapline.Instant
	silent   map[snapline.MemberName]Silence
}

// RestorePhase is where a restore is.
type RestorePhase string

// Phases of a restore, in order.
const (
	RestorePlan RestorePhase = "plan"
	RestoreStop RestorePhase = "stop"
	RestoreLoad RestorePhase = "load"
	RestoreOpen RestorePhase = "open"
	// RestoreReplay comes when all members run: one that does not may be asked to
	// answer a packet before it can.
	RestoreReplay RestorePhase = "replay"
	RestoreUndo   RestorePhase = "undo" // end what was loaded, after a failure
	RestoreEnd    RestorePhase = "end"
)

// BeginRestore says what a restore is to do.
type BeginRestore struct {
	Op       snapline.OperationID
	Snapshot snapline.Snapshot
	// Place says where each member goes.
	Place map[snapline.MemberName]snapline.HostName
	// Stop lists the hosts where an instance of a member may be living. They are
	// asked to stop every member of the group; so are the hosts of Place.
	Stop []snapline.HostName
	// Home says who has a place on a host, or may have; see PlanRestore.
	Home map[snapline.HostName][]snapline.MemberName
	// Also are members as they are declared now, where that differs.
	Also []snapline.Member
	// Replay: the members' packets in transit are delivered, too.
	Replay bool
	// Addresses are those of all members.
	Addresses snapline.MemberAddresses
	// Quarantine is how long packets of the old timeline may be under way.
	Quarantine time.Duration
	// Lease, if not zero, is the one that the members run under.
	Lease time.Duration
	// Coloured says that members of an earlier restore may have marked with
	// RESTORED a short while ago; hosts say it too.
	Coloured bool
}

type restoreHost struct {
	name    snapline.HostName
	life    snapline.Incarnation
	members []snapline.MemberSnapshot // to be loaded here
	at      RestorePhase              // the phase that it has completed last
	loadMS  map[snapline.MemberName]float64
	packets int // replayed
	opened  snapline.Instant
	lost    bool
	replan  bool // undo: a new life must hear the plan first
}

// NewRestore returns the machine of one restore.
func NewRestore(b BeginRestore) *Restore {
	r := &Restore{phase: RestorePlan, begin: b, coloured: b.Coloured}
	byName := map[snapline.HostName]*restoreHost{}
	add := func(n snapline.HostName) *restoreHost {
		if byName[n] == nil {
			byName[n] = &restoreHost{name: n}
			r.hosts = append(r.hosts, byName[n])
		}
		return byName[n]
	}
	for _, n := range b.Stop {
		add(n)
	}
	for _, m := range b.Snapshot.Members {
		h := add(b.Place[m.Name])
		h.members = append(h.members, m)
	}
	sort.Slice(r.hosts, func(i, j int) bool { return r.hosts[i].name < r.hosts[j].name })
	return r
}

// Phase returns where the restore is.
func (r *Restore) Phase() RestorePhase { return r.phase }

// Step takes one event and returns what is to be done, in order.
func (r *Restore) Step(ev Event) []Effect {
	if r.phase == RestoreEnd {
		return nil
	}
	r.now = ev.At
	switch in := ev.Input.(type) {
	case Started:
		return append(r.enter(RestorePlan), r.again())
	case RestoreReceived:
		return r.receive(ev.At, in.Msg)
	case RestoreRang:
		effects := append(r.ask(), r.advance()...)
		if r.phase == RestoreEnd {
			return effects
		}
		return append(effects, r.again())
	case HostLost:
		return r.lost(in)
	case Cancelled:
		if r.phase != RestorePlan {
			return nil // half a restore helps nobody: it goes through
		}
		r.problem = &snapline.Error{Code: snapline.CodeCancelled, Message: "stopped on request; nothing was touched"}
		return r.end()
	}
	panic(fmt.Sprintf("protocol: restore: unknown input %T", ev.Input))
}

// again asks in a second, or as soon as the members may be opened.
func (r *Restore) again() Effect {
	at := r.now.Add(time.Second)
	if r.phase == RestoreLoad && r.settled > r.now {
		at = min(at, r.settled)
	}
	return RestoreTimer{At: at}
}

func (r *Restore) enter(p RestorePhase) []Effect {
	r.phase = p
	r.opened = r.opened || p == RestoreOpen
	effects := []Effect{RestoreNotify{Phase: p}}
	effects = append(effects, r.ask()...)
	return append(effects, r.advance()...)
}

// ask sends the phase's request to each host that has not completed it.
func (r *Restore) ask() []Effect {
	var effects []Effect
	for _, h := range r.hosts {
		if r.waitsFor(h) {
			effects = append(effects, RestoreSend{h.name, r.request(h)})
		}
	}
	return effects
}

func (r *Restore) waitsFor(h *restoreHost) bool {
	switch r.phase {
	case RestoreLoad, RestoreOpen, RestoreReplay, RestoreUndo:
		return h.at != r.phase && !h.lost && len(h.members) > 0
	case RestoreEnd:
		return false
	}
	return h.at != r.phase && !h.lost
}

func (r *Restore) request(h *restoreHost) RestoreMessage {
	ref := RestoreRef{Op: r.begin.Op, Host: h.name, Incarnation: h.life}
	switch {
	case r.phase == RestorePlan, h.replan:
		return PlanRestore{RestoreRef: ref, Snapshot: r.begin.Snapshot.ID, Group: r.begin.Snapshot.Group, Home: r.begin.Home[h.name], Also: r.begin.Also, Members: h.members,
			Replay: r.begin.Replay, Addresses: r.begin.Addresses, Quarantine: r.begin.Quarantine, Lease: r.begin.Lease}
	case r.phase == RestoreStop:
		return StopMembers{ref}
	case r.phase == RestoreLoad:
		return LoadMembers{ref, r.coloured}
	case r.phase == RestoreOpen:
		return OpenMembers{ref}
	case r.phase == RestoreReplay:
		return ReplayChannel{ref}
	}
	return UndoRestore{ref}
}

// advance goes on when every host has completed the phase.
func (r *Restore) advance() []Effect {
	for _, h := range r.hosts {
		if r.waitsFor(h) {
			return nil
		}
	}
	switch r.phase {
	case RestorePlan:
		if r.problem != nil {
			return r.end()
		}
		return r.enter(RestoreStop)
	case RestoreStop:
		if r.coloured {
			r.settled = r.now.Add(withMargin(r.begin.Quarantine))
		}
		return r.enter(RestoreLoad)
	case RestoreLoad:
		if r.now < r.settled {
			return nil
		}
		return r.enter(RestoreOpen)
	case RestoreOpen:
		if r.begin.Replay && r.problem == nil {
			return r.enter(RestoreReplay)
		}
		return r.end()
	case RestoreReplay, RestoreUndo:
		return r.end()
	}
	return nil
}

func (r *Restore) receive(now snapline.Instant, msg RestoreMessage) []Effect {
	ref := msg.AboutRestore()
	h := r.host(ref.Host)
	if h == nil || h.lost || ref.Op != r.begin.Op {
		return nil
	}
	if h.life != "" && ref.Incarnation != h.life {
		if r.phase == RestoreUndo {
			return r.reborn(h, ref.Incarnation)
		}
		return r.fail(h, snapline.Reason{Text: "the agent was restarted during the restore", Hint: "restore again"})
	}
	if h.replan {
		return r.replanned(h, msg)
	}
	switch m := msg.(type) {
	case Planned:
		if r.phase != RestorePlan || h.at == RestorePlan {
			return nil
		}
		h.life, h.at = ref.Incarnation, RestorePlan
		for _, reason := range m.Reasons {
			r.blame(h, reason)
		}
		return r.advance()
	case Stopped:
		r.coloured = r.coloured || m.Coloured
		if r.silent == nil {
			r.silent = m.Silent
		} else {
			maps.Copy(r.silent, m.Silent)
		}
		return r.done(h, RestoreStop)
	case Loaded:
		h.loadMS = m.LoadMS
		return r.done(h, RestoreLoad)
	case Opened:
		if r.phase == RestoreOpen && h.at != RestoreOpen {
			h.opened = now.Add(-time.Duration(max(0, m.AgoNS)))
		}
		return r.done(h, RestoreOpen)
	case Replayed:
		h.packets = m.Packets
		return r.done(h, RestoreReplay)
	case Undone:
		return r.done(h, RestoreUndo)
	case RestoreFailed:
		return r.fail(h, m.Reasons...)
	}
	return nil
}

func (r *Restore) done(h *restoreHost, p RestorePhase) []Effect {
	if r.phase != p || h.at == p {
		return nil
	}
	h.at = p
	effects := []Effect{}
	for _, m := range h.members {
		effects = append(effects, RestoreNotify{Phase: p, Member: m.Name, Host: h.name})
	}
	return append(effects, r.advance()...)
}

func (r *Restore) host(n snapline.HostName) *restoreHost {
	for _, h := range r.hosts {
		if h.name == n {
			return h
		}
	}
	return nil
}
