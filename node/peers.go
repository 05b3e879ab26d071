package node

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
)

// peerLog is whom a protected group's members have sent packets, as far as their
// hosts have told. It is in memory alone: whoever takes over is told again by the
// hosts that live. Instants are of the coordinator's clock.
type peerLog struct {
	last map[peerKey]snapline.Instant
	own  map[netip.Addr]bool // addresses of members
	told map[snapline.MemberName]toldPeers
	// dropped is when the last packet left for a peer that is not known any more.
	dropped snapline.Instant
}

type peerKey struct {
	member  snapline.MemberName
	address netip.Addr
}

// toldPeers is how well a member's peers are known.
type toldPeers struct {
	host  snapline.HostName
	since snapline.Instant // from when on
	at    snapline.Instant // when the last report came
	lost  snapline.Instant // when something may last have been lost
	more  bool             // the last report was not all that there was
	ended bool             // it was, and of a machine that has ended
}

func newPeerLog() *peerLog {
	return &peerLog{last: map[peerKey]snapline.Instant{}, own: map[netip.Addr]bool{}, told: map[snapline.MemberName]toldPeers{}}
}

func (l *peerLog) clone() *peerLog {
	return &peerLog{maps.Clone(l.last), maps.Clone(l.own), maps.Clone(l.told), l.dropped}
}

// add notes a member's part of a report that was made at now, by the agent's
// clock, and has come at at, by ours.
func (l *peerLog) add(h snapline.HostName, m memberPeers, now, at snapline.Instant) {
	// What was a while before the report was made was no longer before it came; a
	// second on a clock may be a little less. So nothing is taken for older than it
	// is.
	ours := func(theirs snapline.Instant) snapline.Instant {
		age := max(0, now.Sub(theirs))
		return at.Add(-time.Duration(float64(age) * (1 - snapline.ClockRateMargin)))
	}
	known, again := l.told[m.Member]
	next := toldPeers{host: h, since: ours(m.Since), at: at, lost: known.lost, more: m.More, ended: m.Ended}
	if again && known.since < next.since {
		next.since = known.since
	}
	if m.Lost != snapline.Never {
		next.lost = max(next.lost, ours(m.Lost))
	}
	l.told[m.Member] = next
	for _, a := range m.Own[:min(len(m.Own), snapline.MaxAddresses)] {
		if isHost(a) && len(l.own) < maxPeers {
			l.own[a] = true
		}
	}
	for _, row := range m.Peers[:min(len(m.Peers), maxPeerRows)] {
		if !isHost(row.Address) {
			continue
		}
		k := peerKey{m.Member, row.Address}
		l.last[k] = max(l.last[k], ours(row.Last))
	}
	for _, gone := range oldest(l.last, maxPeers, func(at snapline.Instant) snapline.Instant { return at }) {
		l.dropped = max(l.dropped, l.last[gone])
		delete(l.last, gone)
	}
}

// peersSeen takes an agent's report.
func (c *Coordinator) peersSeen(_ context.Context, from snapline.Address, question []byte) []byte {
	if !c.Term.Leads() {
		return nil // another one answers
	}
	at := c.Clock.Now()
	answer := peersTold{Term: c.Term.Number()}
	var r peerReport
	if len(question) <= maxPeerReport && json.Unmarshal(question, &r) == nil && from == snapline.ToAgent(r.Host) {
		c.fate.Lock()
		for _, m := range r.Members {
			// A host speaks for the members that are there.
			if k := c.keepers[m.Group]; k != nil && c.groups[m.Group].Placement[m.Member] == r.Host {
				k.peers.add(r.Host, m, r.Now, at)
				answer.Heard = append(answer.Heard, m.memberRef)
			}
		}
		c.fate.Unlock()
	}
	b, err := json.Marshal(answer)
	if err != nil {
		c.Log.Error("encode", "error", err)
	}
	return b
}

// sent is what is known of the group's peers now; nil when it is not protected.
func (c *Coordinator) sent(g snapline.GroupName) *peerLog {
	c.fate.Lock()
	defer c.fate.Unlock()
	if k := c.keepers[g]; k != nil {
		return k.peers.clone()
	}
	return nil
}

// askEnded asks the hosts where members were, before they were ended, for what
// they have not told yet.
func (c *Coordinator) askEnded(ctx context.Context, l *peerLog, g snapline.GroupName, placed map[snapline.MemberName]snapline.HostName, since snapline.Instant) {
	q := peersQuestion{Group: g, AgeNS: int64(float64(c.Clock.Now().Sub(since)) / (1 - snapline.ClockRateMargin))}
	var hosts []snapline.HostName
	for _, h := range placed {
		if c.roster.online(h) && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, peersEvery)
	defer cancel()
	answers := make([]*peerReport, len(hosts))
	var asking errgroup.Group
	for i, h := range hosts {
		asking.Go(func() error {
			if f, err := c.question(ctx, h, inspection{Peers: &q}); err == nil {
				answers[i] = f.Peers
			}
			return nil
		})
	}
	_ = asking.Wait() // who does not answer has told what it has told
	at := c.Clock.Now()
	for i, r := range answers {
		if r == nil {
			continue
		}
		for _, m := range r.Members {
			if m.Group == g && m.Ended && placed[m.Member] == hosts[i] {
				l.add(hosts[i], m, r.Now, at)
			}
		}
	}
}

// cutOf is when a snapshot's cut was, on our clock.
func (c *Coordinator) cutOf(s snapline.Snapshot) snapline.Instant {
	c.fate.Lock()
	defer c.fate.Unlock()
	if k := c.keepers[s.Group.Name]; k != nil && k.cut.id == s.ID {
		return k.cut.at // whatever the time of day has been set to since
	}
	return c.Clock.Now().Add(-c.Clock.Wall().Sub(s.TakenAt))
}
