package evidence

import (
	"slices"

	"github.com/snapline/snapline"
)

// conclude counts the classes and states the verdict.
func (m *matcher) conclude() *Report {
	v := Verdict{Flows: m.flows()}
	var n [classes]int
	for _, c := range m.classes {
		n[c]++
	}
	for _, a := range m.arrows {
		if a.send < 0 {
			n[a.class]++
		}
	}
	v.Before, v.InTransit, v.Withheld, v.After = n[before], n[inTransit], n[withheld], n[after]
	v.Dropped, v.Orphans, v.Unmatched = n[dropped], n[orphan], n[stray]
	for c := outside + 1; c < classes; c++ {
		v.Packets += n[c]
	}
	for i, o := range m.outcomes {
		switch {
		case o == ambiguous:
			v.Ambiguous++
		case o == unmatched && m.receipts[i].before:
			v.Unexplained++
		}
	}
	for _, t := range m.traces {
		if t != nil {
			v.Lost += t.Lost
		}
	}
	v.Named = m.named()
	certain := v.Lost == 0 || slices.ContainsFunc(m.arrows, func(a arrow) bool { return a.class == orphan && strong(m.packet(a)) })
	m.state(&v, certain)
	return &Report{Verdict: v, Clocks: m.clocks(), Peers: m.peers(), Channel: m.findChannel(), members: m.members, traces: m.traces, arrows: m.arrows, sends: m.sends, receipts: m.receipts}
}

// state weighs the counts. An orphan is certain unless a lost record could be
// of an earlier packet that looks the same.
func (m *matcher) state(v *Verdict, certain bool) {
	v.Reasons = m.reasons
	reason := func(many bool, text string) {
		if many {
			v.Reasons = append(v.Reasons, text)
		}
	}
	reason(v.Lost > 0, count(v.Lost, "record", "records")+" lost")
	reason(v.Unexplained > 0, count(v.Unexplained, "packet", "packets")+" received before the cut without a record of sending")
	reason(v.Ambiguous > 0, count(v.Ambiguous, "packet", "packets")+" received before the cut that cannot be told from others")
	switch {
	case v.Orphans > 0 && certain:
		v.State = Inconsistent
	case len(v.Reasons) > 0:
		v.State = Unproven
	default:
		v.State = Consistent
	}
}

// flows counts conversations. Fragments without ports belong to one that is
// counted, or to none.
func (m *matcher) flows() int {
	seen := map[flowKey]struct{}{}
	for _, a := range m.arrows {
		p := m.packet(a)
		if p.Fragment&fragmentOffset != 0 {
			continue
		}
		k := keyOf(p)
		if k.to.Compare(k.from) < 0 {
			k.from, k.to = k.to, k.from
		}
		seen[k] = struct{}{}
	}
	return len(seen)
}

func (m *matcher) packet(a arrow) *snapline.Packet {
	if a.send >= 0 {
		return m.sends[a.send].Packet
	}
	return m.receipts[a.receipt].Packet
}

func (m *matcher) named() []Orphan {
	var named []Orphan
	for _, a := range m.arrows {
		if a.class != orphan || len(named) == NamedMost {
			continue
		}
		s, r := &m.sends[a.send], &m.receipts[a.receipt]
		named = append(named, Orphan{
			From: m.members[a.from].Name, To: m.members[a.to].Name,
			Sent: s.At, CutBegan: m.traces[a.from].CutBegan, Received: r.At, CutEnded: m.traces[a.to].CutEnded,
			Protocol: s.Protocol, Source: s.Source, Destination: s.Destination, Sequence: s.Sequence, Length: s.Length,
		})
	}
	return named
}
