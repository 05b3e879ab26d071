package evidence

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
)

// Member is one that a trace is expected of.
type Member struct {
	Name snapline.MemberName
	// Addresses are those that it is known to have, if any. Those it sends from in
	// its trace are added to them.
	Addresses []netip.Addr
	// Armed and Drained are snapline.MemberEvidence's, and Kept the packets that its gate has
	// kept whole, each with its record's At as ID. Only the channel depends on them.
	Armed, Drained snapline.Instant
	Kept           []Frame
}

// Report is what Match finds.
type Report struct {
	Verdict Verdict
	Clocks  []Clock // one for each member, in their order
	Peers   []Peer
	Channel Channel

	members  []Member
	traces   []*snapline.Trace // one for each member; nil when it is missing
	sends    []seen
	receipts []seen
	arrows   []arrow
}

// Match compares the traces of one round and judges the cut; the package's
// comment says how, and why the verdict can be relied on. It changes nothing of
// its arguments. For twenty thousand packets it takes tens of milliseconds.
func Match(group []Member, traces []snapline.Trace) *Report {
	m := newMatcher(group, traces)
	m.index()
	for i := range m.receipts {
		m.receive(int32(i))
	}
	m.learn()
	m.prove()
	m.classify()
	return m.conclude()
}

// seen is a packet at one gate.
type seen struct {
	*snapline.Packet
	member int32
	// before: it is part of the state that the cut captured, or may be; of a
	// sending, that it surely is.
	before bool
}

// outcome is what is known of a receipt's sending.
type outcome uint8

const (
	unmatched outcome = iota // no recorded sending is this receipt's
	matched
	earlier   // unmatched, and proven to be sent before its sender's cut
	ambiguous // cannot be told from sendings of another content
	orphaned
	foreign // unmatched, and not from another member's address
)

type link struct{ send, receipt int32 }

type matcher struct {
	members  []Member
	traces   []*snapline.Trace
	reasons  []string
	sends    []seen
	receipts []seen
	outcomes []outcome // of receipts
	links    []link
	groups   map[identity]*group
	// fragments says that there are some, so that whole packets are indexed as datagrams too.
	fragments bool
	turns     map[turn]int32
	pairs     []pair
	owners    map[netip.Addr][]int32
	inside    map[netip.Addr]bool
	cause     *causality
	arrows    []arrow
	classes   []class // of sends; outside when it is no packet between members
	found     []entry // candidates: memory used again
	exact     []entry
	parts     []span
}

// group is the sendings of one identity, by their spans.
type group struct {
	origin  uint32
	longest int64
	sends   []entry
}

type entry struct {
	span
	send int32
}

// turn counts how many receipts at one member have been given to sendings that
// cannot be told apart.
type turn struct{ send, member int32 }

func newMatcher(members []Member, traces []snapline.Trace) *matcher {
	m := &matcher{members: members, traces: make([]*snapline.Trace, len(members)),
		turns: map[turn]int32{}, owners: map[netip.Addr][]int32{}, inside: map[netip.Addr]bool{}}
	m.assign(traces)
	m.allocate()
	for i, t := range m.traces {
		for _, a := range m.members[i].Addresses {
			m.own(a.Unmap(), int32(i))
		}
		if t == nil {
			continue
		}
		timed := t.CutBegan > snapline.Never && t.CutBegan <= t.CutEnded
		for j := range t.Packets {
			p := &t.Packets[j]
			m.fragments = m.fragments || isFragment(p)
			if p.Inbound {
				m.receipts = append(m.receipts, seen{p, int32(i), timed && !p.Withheld && p.At < t.CutEnded})
				continue
			}
			if p.Withheld {
				continue // it did not leave
			}
			m.sends = append(m.sends, seen{p, int32(i), !timed || p.At < t.CutBegan})
			m.own(p.Source.Addr(), int32(i))
		}
	}
	return m
}

// allocate makes room for what the traces hold.
func (m *matcher) allocate() {
	in, out := 0, 0
	for _, t := range m.traces {
		if t == nil {
			continue
		}
		for i := range t.Packets {
			if t.Packets[i].Inbound {
				in++
			} else {
				out++
			}
		}
	}
	m.receipts, m.sends = make([]seen, 0, in), make([]seen, 0, out)
	m.outcomes, m.links = make([]outcome, in), make([]link, 0, in)
	m.groups = make(map[identity]*group, out)
}

// assign finds each member's trace, in the order of time.
func (m *matcher) assign(traces []snapline.Trace) {
	if len(traces) == 0 {
		m.reasons = append(m.reasons, "there is no trace, as of a barrier cut")
		return
	}
	at := make(map[snapline.MemberName]int, len(m.members))
	for i, x := range m.members {
		at[x.Name] = i
	}
	for _, t := range traces {
		i, ok := at[t.Member]
		switch {
		case !ok:
			m.reasons = append(m.reasons, "there is a trace of "+string(t.Member)+", which is no member")
			continue
		case m.traces[i] != nil:
			m.reasons = append(m.reasons, "there are two traces of "+string(t.Member))
			continue
		}
		byTime := func(a, b snapline.Packet) int { return cmp.Compare(a.At, b.At) }
		if !slices.IsSortedFunc(t.Packets, byTime) {
			t.Packets = slices.Clone(t.Packets)
			slices.SortStableFunc(t.Packets, byTime)
		}
		m.traces[i] = &t
	}
	for i, t := range m.traces {
		name := string(m.members[i].Name)
		switch {
		case t == nil:
			m.reasons = append(m.reasons, "the trace of "+name+" is missing")
		case t.CutBegan <= snapline.Never || t.CutEnded <= snapline.Never:
			m.reasons = append(m.reasons, "the trace of "+name+" does not say when its cut was")
		case t.CutEnded < t.CutBegan:
			m.reasons = append(m.reasons, "in the trace of "+name+" the cut ends before it begins")
		}
	}
}

// own notes that a member uses an address.
func (m *matcher) own(a netip.Addr, member int32) {
	if o := m.owners[a]; !slices.Contains(o, member) {
		m.owners[a] = append(o, member)
		m.inside[a] = true
	}
}

func (m *matcher) index() {
	for i := range m.sends {
		k, s := identify(m.sends[i].Packet)
		m.add(k, s, int32(i))
		if m.fragments {
			k, s := identifyDatagram(m.sends[i].Packet)
			m.add(k, s, int32(i))
		}
	}
	for _, g := range m.groups {
		slices.SortFunc(g.sends, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to),
				cmp.Compare(m.sends[a.send].ID, m.sends[b.send].ID),
				cmp.Compare(m.sends[a.send].At, m.sends[b.send].At))
		})
	}
}

func (m *matcher) add(k identity, s span, send int32) {
	g := m.groups[k]
	if g == nil {
		g = &group{}
		if k.kind == segment {
			g.origin = uint32(s.from)
		}
		m.groups[k] = g
	}
	if k.kind == segment {
		s = rebase(s, g.origin)
	}
	g.longest = max(g.longest, s.to-s.from)
	g.sends = append(g.sends, entry{s, send})
}
