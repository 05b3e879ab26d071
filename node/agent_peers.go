package node

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// peerBook keeps where the packets of this host's leased members have gone, as
// their fences have noted it, and tells the coordinator every second: should this
// host die, it knows who has got what a restore takes back. A fence goes on
// remembering what nobody has been told; a coordinator that has just begun to lead
// is told everything again.
type peerBook struct {
	agent *Agent

	mu  sync.Mutex // guards the fields below; comes after that of fences
	now map[memberKey]*peerTable
	// ended are those of machines that have ended: the last one of each member.
	ended map[memberKey]*peerTable
	term  uint64 // of who was told last
}

// peerTable is one machine's.
type peerTable struct {
	since snapline.Instant // complete from then on
	own   map[netip.Addr]bool
	peers map[netip.Addr]seenPeer
	// lost is when something may last have found no room.
	lost    snapline.Instant
	unnoted uint64         // the fence's counter
	listed  []snapline.Way // what its fence remembers
	ended   snapline.Instant
}

// seenPeer is when the last packet left for an address, and what of that the
// coordinator has been told.
type seenPeer struct{ last, told snapline.Instant }

func newPeerBook(a *Agent) *peerBook {
	return &peerBook{agent: a, now: map[memberKey]*peerTable{}, ended: map[memberKey]*peerTable{}}
}

// Bounds of what is remembered of one member, and of one message.
const (
	maxPeers      = 4096
	maxPeerRows   = 2000
	maxPeerReport = 256 << 10 // bytes; rows are some 60 each
)

// endedFor is how long the peers of a machine that has ended are remembered: a
// restore asks for them within a minute.
const endedFor = 10 * time.Minute

// run tells the coordinator until ctx ends.
func (b *peerBook) run(ctx context.Context) {
	tick := time.NewTicker(peersEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.agent.fences.readPeers()
		for b.tell(ctx) {
		}
		b.agent.fences.forgetTold()
	}
}

// tell sends one report. It returns true when there is more to be said at once.
func (b *peerBook) tell(ctx context.Context) (again bool) {
	r := b.report()
	if len(r.Members) == 0 {
		return false
	}
	question, err := json.Marshal(r)
	if err != nil {
		b.agent.Log.Error("encode peers", "error", err)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, peersEvery)
	defer cancel()
	answer, err := b.agent.Bus.Ask(ctx, toPeers, question)
	var told peersTold
	if err != nil || json.Unmarshal(answer, &told) != nil {
		return false // it is said again
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if told.Term != b.term {
		again = b.term != 0 // the one before knew things that this one does not
		b.term = told.Term
		for _, tables := range []map[memberKey]*peerTable{b.now, b.ended} {
			for _, t := range tables {
				for a, p := range t.peers {
					t.peers[a] = seenPeer{last: p.last}
				}
			}
		}
	}
	for _, m := range r.Members {
		t := b.now[memberKey{m.Group, m.Member}]
		if m.Ended {
			t = b.ended[memberKey{m.Group, m.Member}]
		}
		if t == nil || !slices.Contains(told.Heard, m.memberRef) {
			continue
		}
		for _, row := range m.Peers {
			if p, ok := t.peers[row.Address]; ok {
				t.peers[row.Address] = seenPeer{last: p.last, told: row.Last}
			}
		}
	}
	return again
}

// report is what the coordinator has not been told yet.
func (b *peerBook) report() peerReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := peerReport{Host: b.agent.Host, Now: b.agent.Clock.Now()}
	room := maxPeerRows
	untold := func(p seenPeer) bool { return p.last > p.told }
	for k, t := range b.now {
		m := t.rows(k, untold, &room)
		r.Members = append(r.Members, m)
	}
	maps.DeleteFunc(b.ended, func(_ memberKey, t *peerTable) bool { return r.Now.Sub(t.ended) > endedFor })
	for k, t := range b.ended {
		if m := t.rows(k, untold, &room); len(m.Peers) > 0 {
			m.Ended = true
			r.Members = append(r.Members, m)
		}
	}
	return r
}

// latest is what is known of the group's machines that have ended here, of the
// time since an instant.
func (b *peerBook) latest(g snapline.GroupName, since snapline.Instant) peerReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := peerReport{Host: b.agent.Host, Now: b.agent.Clock.Now()}
	room := maxPeerRows
	for k, t := range b.ended {
		if k.group == g {
			m := t.rows(k, func(p seenPeer) bool { return p.last >= since }, &room)
			m.Ended = true
			r.Members = append(r.Members, m)
		}
	}
	return r
}

// read notes what the fence of a machine remembers; under the fences' mutex.
func (b *peerBook) read(k memberKey, m *memberFence) {
	ways, err := m.Ways()
	counters, failed := m.Counters()
	if err != nil || failed != nil {
		b.agent.Log.Debug("read where packets go", "group", k.group, "member", k.member, "error", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.agent.Clock.Now()
	t := b.now[k]
	if t == nil {
		t = &peerTable{since: m.raised, own: map[netip.Addr]bool{}, peers: map[netip.Addr]seenPeer{}}
		if t.since == snapline.Never { // a former life's: that one has told what it knew
			t.since, t.unnoted = now, counters.Unnoted
		}
		b.now[k] = t
	}
	if counters.Unnoted != t.unnoted {
		t.unnoted, t.lost = counters.Unnoted, now
	}
	t.listed = ways
	for _, w := range ways {
		t.note(w)
	}
}

func (t *peerTable) note(w snapline.Way) {
	if len(t.own) < snapline.MaxAddresses && isHost(w.From) {
		t.own[w.From] = true
	}
	if !isHost(w.To) {
		return
	}
	p := t.peers[w.To]
	t.peers[w.To] = seenPeer{max(p.last, w.Last), p.told}
	for _, gone := range oldest(t.peers, maxPeers, func(p seenPeer) snapline.Instant { return p.last }) {
		if p := t.peers[gone]; p.last > p.told {
			t.lost = max(t.lost, p.last)
		}
		delete(t.peers, gone)
	}
}

// forgettable are the ways that the coordinator knows of, or need not know of.
func (t *peerTable) forgettable() (ways []snapline.Way) {
	for _, w := range t.listed {
		if p, ok := t.peers[w.To]; !ok || p.told >= w.Last {
			ways = append(ways, w)
		}
	}
	return ways
}

// end moves a machine's table to those that have ended.
func (b *peerBook) end(k memberKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.now[k]; t != nil {
		t.listed, t.ended = nil, b.agent.Clock.Now()
		b.ended[k] = t
		delete(b.now, k)
	}
}

// drop forgets a member that runs on without a lease.
func (b *peerBook) drop(k memberKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.now, k)
	delete(b.ended, k)
}

// readPeers reads all fences under a lease.
func (f *fences) readPeers() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, m := range f.all {
		if !m.loaded && m.rules.Leased() {
			f.agent.peers.read(k, m)
		}
	}
}

// forgetTold makes room in the fences.
func (f *fences) forgetTold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.agent.peers
	for k, m := range f.all {
		b.mu.Lock()
		var ways []snapline.Way
		if t := b.now[k]; t != nil {
			ways = t.forgettable()
		}
		b.mu.Unlock()
		if len(ways) == 0 {
			continue
		}
		if err := m.Forget(ways); err != nil {
			f.agent.Log.Debug("forget where packets went", "group", k.group, "member", k.member, "error", err)
		}
	}
}
