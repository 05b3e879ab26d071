package evidence

import (
	"fmt"
	"slices"

	"github.com/snapline/snapline"
)

// Summary is what a snapshot's record keeps of a report.
func (r *Report) Summary() *snapline.Verdict {
	v := r.Verdict
	s := &snapline.Verdict{
		State: v.State, Text: v.String(), Packets: v.Packets, Flows: v.Flows,
		InTransit: v.InTransit, Withheld: v.Withheld, Orphans: v.Orphans, Lost: v.Lost, Reasons: v.Reasons,
	}
	if slices.ContainsFunc(r.traces, func(t *snapline.Trace) bool { return t != nil }) {
		s.Channel = &r.Channel.Channel
	}
	for _, o := range v.Named {
		s.Reasons = append(s.Reasons, o.String())
	}
	for _, p := range r.Peers {
		s.Peers = append(s.Peers, snapline.Peer{Member: p.Member, Address: p.Address, In: p.PacketsIn, Out: p.PacketsOut})
	}
	return s
}

// String names the packet and how it crossed the cut.
func (o Orphan) String() string {
	return fmt.Sprintf("orphan: protocol %d, %v to %v, sequence %d, %d bytes: %s sent it %v after its cut began, %s received it %v before its cut ended",
		o.Protocol, o.Source, o.Destination, o.Sequence, o.Length, o.From, o.Sent.Sub(o.CutBegan), o.To, o.CutEnded.Sub(o.Received))
}
