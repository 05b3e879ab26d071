package evidence

import (
	"cmp"
	"slices"
	"time"

	"github.com/snapline/snapline"
)

// Channel is the state of the network at the cut: what had been sent before its
// sender's cut and was not received before its receiver's. A restore that delivers
// it, once each, loses nothing that the cut itself would lose.
//
// For the verdict doubt is taken for the worse, and all that matters is which side
// of the cut the worse is. Here both sides are wrong: a packet that is left out is
// lost, and one too many is received twice. So the instant is looked for within the
// time in which the VM stood still: it sends nothing then, and its hypervisor reads
// nothing for it. What had passed the gate before may have waited in the host's
// queue; it is in the state only if the queue was seen empty between. Whatever is
// still in doubt makes the channel incomplete.
//
// Of TCP nothing is promised, and nothing in doubt: it sends again what is lost.
type Channel struct {
	snapline.Channel
	// Deliveries are the packets in transit that were kept, in the order in which
	// each member received them.
	Deliveries []Delivery
}

// Delivery is one packet in transit: for Frame.Member.
type Delivery struct {
	Frame Frame
	// Marked: the gates have replaced the packet's codepoint.
	Marked bool
}

// side of the cut that something happened on.
type side uint8

const (
	early side = iota
	doubtful
	late
)

// recordedFor is how long after its cut a gate goes on to record at least. All
// others have cut before it ends, and record as long: what a member receives
// within that time after its cut was sent while its sender recorded, or before.
const recordedFor = 100 * time.Millisecond

func (m *matcher) sentAt(s *seen) side {
	t := m.traces[s.member]
	from, to := t.CutBegan, t.CutEnded
	if stood(t) {
		from, to = t.Paused, t.Resumed
	}
	switch {
	case to <= snapline.Never || from > to:
		return doubtful
	case s.At >= to:
		return late
	case s.At <= from:
		return early
	}
	return doubtful
}

func (m *matcher) receivedAt(r *seen) side {
	t := m.traces[r.member]
	switch {
	case r.Withheld:
		return late // never
	case stood(t) && r.At > t.Paused, !stood(t) && t.CutEnded > snapline.Never && r.At >= t.CutEnded:
		return late
	case stood(t) && r.At <= min(m.members[r.member].Drained, t.Paused):
		return early
	}
	return doubtful
}

// stood reports whether it is known when the VM stood still.
func stood(t *snapline.Trace) bool {
	return t.Paused > snapline.Never && t.Paused <= t.Resumed
}

// channeler collects the channel.
type channeler struct {
	*matcher
	channel                        Channel
	bySend, byReceipt              [][]int32 // links
	mixed                          map[identity]bool
	done                           map[part]bool
	kept                           map[keptKey][]*Frame
	missing, doubts, unsent, empty int
}

// part is a part of a packet at one receiver.
type part struct {
	send, member int32
	span         span
}

type keptKey struct {
	member int32
	at     uint64
}

// findChannel is called when all receipts have found their sendings.
func (m *matcher) findChannel() Channel {
	c := &channeler{matcher: m, bySend: make([][]int32, len(m.sends)), byReceipt: make([][]int32, len(m.receipts)),
		done: map[part]bool{}, kept: map[keptKey][]*Frame{}}
	for _, l := range m.links {
		c.bySend[l.send] = append(c.bySend[l.send], l.receipt)
		c.byReceipt[l.receipt] = append(c.byReceipt[l.receipt], l.send)
	}
	for i := range m.members {
		for j := range m.members[i].Kept {
			f := &m.members[i].Kept[j]
			k := keptKey{int32(i), f.ID}
			c.kept[k] = append(c.kept[k], f)
		}
	}
	c.findMixed()
	c.findEarly()
	for i := range m.receipts {
		c.receipt(int32(i))
	}
	for i := range m.sends {
		c.sending(int32(i))
	}
	slices.SortStableFunc(c.channel.Deliveries, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.Frame.Member, b.Frame.Member), cmp.Compare(a.Frame.ID, b.Frame.ID))
	})
	c.conclude()
	return c.channel
}

// findMixed finds what was sent on both sides of a cut and looks the same, and
// has no IP ID: which of them a receipt is of is not certain.
func (c *channeler) findMixed() {
	first := map[identity]side{}
	c.mixed = map[identity]bool{}
	for i := range c.sends {
		s := &c.sends[i]
		if s.Protocol == protocolTCP || strong(s.Packet) {
			continue
		}
		k, _ := identify(s.Packet)
		at := c.sentAt(s)
		if before, ok := first[k]; ok && before != at {
			c.mixed[k] = true
		} else {
			first[k] = at
		}
	}
}

// findEarly notes what was received before the cut: another copy that the network
// makes of it, and delivers later, is not in transit.
func (c *channeler) findEarly() {
	for _, l := range c.links {
		if r := &c.receipts[l.receipt]; c.receivedAt(r) == early {
			c.done[c.partOf(l.receipt, l.send)] = true
		}
	}
}

func (c *channeler) partOf(receipt, send int32) part {
	r := &c.receipts[receipt]
	return part{send, r.member, partOf(r.Packet, c.sends[send].Packet)}
}

// receipt decides whether one packet at its receiver's gate was in transit.
func (c *channeler) receipt(i int32) {
	r := &c.receipts[i]
	at := c.receivedAt(r)
	if at == early || c.outcomes[i] == foreign {
		return
	}
	tcp := r.Protocol == protocolTCP
	sends := c.byReceipt[i]
	if len(sends) == 0 {
		// A gate that has gone down records no sending.
		inTime := at != late || r.At < c.traces[r.member].CutEnded.Add(recordedFor)
		if !tcp && inTime && len(c.senders(r)) > 0 {
			c.unsent++
		}
		return
	}
	fresh := false
	sent := c.sentAt(&c.sends[sends[0]])
	for _, s := range sends {
		if c.sentAt(&c.sends[s]) != sent {
			sent = doubtful
		}
		fresh = fresh || !c.done[c.partOf(i, s)]
	}
	if k, _ := identify(r.Packet); c.mixed[k] {
		sent = doubtful
	}
	switch {
	case sent == late || !fresh:
	case sent == doubtful || at == doubtful:
		if !tcp {
			c.doubts++
		}
	default:
		for _, s := range sends {
			c.done[c.partOf(i, s)] = true
		}
		c.deliver(r)
	}
}

// deliver adds a packet in transit to the channel.
func (c *channeler) deliver(r *seen) {
	c.channel.InTransit++
	frames := c.kept[keptKey{r.member, uint64(r.At)}]
	for _, f := range frames {
		if holds(f, r.Packet) && (r.Protocol != protocolTCP || len(f.Data) <= ordinary) {
			c.channel.Kept++
			c.channel.Deliveries = append(c.channel.Deliveries, Delivery{*f, r.Marked})
			return
		}
	}
	if r.Protocol != protocolTCP {
		c.empty++
	}
}

// sending sees to it that a packet sent before the cut has arrived somewhere. What
// is sent to a group of receivers need not arrive everywhere. What was sent before
// all gates recorded may have arrived before: that is the rule, and nothing tells
// it from a packet that was lost.
func (c *channeler) sending(i int32) {
	s := &c.sends[i]
	if s.Protocol == protocolTCP || c.sentAt(s) == late || s.At < c.members[s.member].Armed {
		return
	}
	to := s.Destination.Addr()
	if to.IsMulticast() || to == broadcast || !slices.ContainsFunc(c.owners[to], func(o int32) bool { return o != s.member }) {
		return
	}
	c.parts = c.parts[:0]
	fragmented := false
	for _, r := range c.bySend[i] {
		p := c.receipts[r].Packet
		fragmented = fragmented || isFragment(p) != isFragment(s.Packet)
		c.parts = append(c.parts, partOf(p, s.Packet))
	}
	if len(c.parts) == 0 || !complete(s.Packet, c.parts, fragmented) {
		c.missing++
	}
}

// conclude says what is wrong with the channel.
func (c *channeler) conclude() {
	ch := &c.channel.Channel
	ch.Reasons = slices.Clone(c.reasons)
	reason := func(n uint64, text string) {
		if n > 0 {
			ch.Reasons = append(ch.Reasons, count(n, "packet", "packets")+" "+text)
		}
	}
	var lost uint64
	for _, t := range c.traces {
		if t != nil {
			lost += t.Lost
		}
	}
	reason(lost, "without a record")
	reason(uint64(c.missing), "sent before the cut and not seen to arrive")
	reason(uint64(c.doubts), "of which it is not certain on which side of the cut they are")
	reason(uint64(c.unsent), "received after the cut without a record of sending")
	reason(uint64(c.empty), "in transit whose content could not be kept")
	ch.Complete = len(ch.Reasons) == 0
	ch.Text = channelText(*ch)
}

func channelText(c snapline.Channel) string {
	text := "channel: " + count(c.InTransit, "packet", "packets") + " under way at the cut"
	switch {
	case c.InTransit == 0:
	case c.Kept == c.InTransit:
		text += ", all kept"
	default:
		text += ", " + thousands(uint64(c.Kept)) + " kept"
		if c.Complete {
			text += ", TCP sends the others again"
		}
	}
	if !c.Complete {
		text += "; not complete"
	}
	return text
}
