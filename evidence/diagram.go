package evidence

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/snapline/snapline"
)

// DiagramVersion is that of Diagram's JSON. A field may be added without a new
// version; what is there keeps its meaning.
const DiagramVersion = 1

// Unseen stands in a Diagram for a time or a member that is not known.
const Unseen = -1

// Diagram is a space-time diagram as data: a lane per member, and the packets as
// arrows between them. All times are nanoseconds since the earliest of them, on
// the first member's clock as far as the clocks' offsets are known; because of
// their errors an arrow can point back in time. No member is compared with
// another by them: the classes are right whatever the clocks say.
//
// The JSON has the packets by columns: from[i], to[i], sent[i] … are of packet i.
type Diagram struct {
	Version int    `json:"version"`
	State   State  `json:"state"`
	Verdict string `json:"verdict"` // in one line
	Members []Lane `json:"members"`
	// Classes are the names that Packets.Class counts from 0.
	Classes []string `json:"classes"`
	// Flows are labels that Packets.Flow counts from 0: "tcp 10.0.0.1:2380 10.0.0.2:40112".
	Flows   []string `json:"flows"`
	Packets Arrows   `json:"packets"`
	// Left is how many packets do not fit into the diagram, see Report.Diagram.
	Left int `json:"left"`
}

// Lane is one member's line.
type Lane struct {
	Name snapline.MemberName `json:"name"`
	Host snapline.HostName   `json:"host"`
	// Offset is how far this member's clock is ahead of the first one's, and has been
	// taken from its times; Error is how wrong that may be, or Unseen.
	Offset int64 `json:"offset_ns"`
	Error  int64 `json:"error_ns"`
	// The cut lies between CutBegan and CutEnded; the VM stood still from Paused to
	// Resumed. Unseen where the trace does not say.
	CutBegan int64  `json:"cut_began"`
	CutEnded int64  `json:"cut_ended"`
	Paused   int64  `json:"paused"`
	Resumed  int64  `json:"resumed"`
	Lost     uint64 `json:"lost"`
}

// Arrows are packets by columns, in the order of Sent, or of Received where
// that is Unseen. A packet with several receivers is several arrows.
type Arrows struct {
	From     []int32  `json:"from"` // index of a member, or Unseen
	To       []int32  `json:"to"`
	Sent     []int64  `json:"sent"`
	Received []int64  `json:"received"` // or withheld
	Class    []int    `json:"class"`
	Flow     []int32  `json:"flow"`
	Sequence []uint32 `json:"sequence"` // TCP's, or IPv4's ID
	Length   []uint32 `json:"length"`   // of payload, in bytes
	Marked   []int    `json:"marked"`   // 1 for packets that carried POST
}

// The names of the classes, in the order of class without outside.
var classNames = [...]string{"lost", "after", "before", "unmatched", "withheld", "in-transit", "orphan"}

// Diagram returns the report's diagram with at most that many arrows; 0 is no
// limit. Where they are too many, those are left out that say least: lost ones, then
// those that are only after or only before the cut, the furthest from it first.
// Twenty thousand arrows are about 1 MB of JSON.
func (r *Report) Diagram(most int) *Diagram {
	d := &Diagram{Version: DiagramVersion, State: r.Verdict.State, Verdict: r.Verdict.String(), Classes: classNames[:], Flows: []string{}}
	kept := r.kept(most)
	d.Left = len(r.arrows) - len(kept)
	origin := r.origin(kept)
	d.lanes(r, origin)
	slices.SortStableFunc(kept, func(a, b arrow) int { return cmp.Compare(r.start(a), r.start(b)) })
	d.Packets.make(len(kept))
	flows := map[flowKey]int32{}
	for i, a := range kept {
		p, marked := r.packet(a)
		k := keyOf(p)
		if k.to.Compare(k.from) < 0 {
			k.from, k.to = k.to, k.from
		}
		f, ok := flows[k]
		if !ok {
			f = int32(len(d.Flows))
			flows[k] = f
			d.Flows = append(d.Flows, k.String())
		}
		v := &d.Packets
		v.From[i], v.To[i], v.Class[i], v.Flow[i] = a.from, a.to, int(a.class-1), f
		v.Sent[i], v.Received[i] = Unseen, Unseen
		if a.send >= 0 {
			v.Sent[i] = r.common(&r.sends[a.send]) - origin
		}
		if a.receipt >= 0 {
			v.Received[i] = r.common(&r.receipts[a.receipt]) - origin
		}
		v.Sequence[i], v.Length[i] = cmp.Or(p.Sequence, uint32(p.ID)), p.Length
		if marked {
			v.Marked[i] = 1
		}
	}
	return d
}

func (v *Arrows) make(n int) {
	v.From, v.To, v.Flow = make([]int32, n), make([]int32, n), make([]int32, n)
	v.Sent, v.Received = make([]int64, n), make([]int64, n)
	v.Class, v.Marked = make([]int, n), make([]int, n)
	v.Sequence, v.Length = make([]uint32, n), make([]uint32, n)
}

func (d *Diagram) lanes(r *Report, origin int64) {
	d.Members = make([]Lane, len(r.members))
	for i, m := range r.members {
		c := r.Clocks[i]
		l := Lane{Name: m.Name, Offset: int64(c.Offset), Error: int64(c.Error), CutBegan: Unseen, CutEnded: Unseen, Paused: Unseen, Resumed: Unseen}
		if t := r.traces[i]; t != nil {
			at := func(t snapline.Instant) int64 {
				if t == snapline.Never {
					return Unseen
				}
				return int64(t) - l.Offset - origin
			}
			l.Host, l.Lost = t.Host, t.Lost
			l.CutBegan, l.CutEnded, l.Paused, l.Resumed = at(t.CutBegan), at(t.CutEnded), at(t.Paused), at(t.Resumed)
		}
		d.Members[i] = l
	}
}

// common is an instant on the first member's clock.
func (r *Report) common(s *seen) int64 { return int64(s.At) - int64(r.Clocks[s.member].Offset) }

// start is when an arrow begins, or ends where its beginning is not known.
func (r *Report) start(a arrow) int64 {
	if a.send >= 0 {
		return r.common(&r.sends[a.send])
	}
	return r.common(&r.receipts[a.receipt])
}

// origin is the earliest time in the diagram.
func (r *Report) origin(arrows []arrow) int64 {
	o := int64(math.MaxInt64)
	for _, a := range arrows {
		o = min(o, r.start(a))
		if a.receipt >= 0 {
			o = min(o, r.common(&r.receipts[a.receipt]))
		}
	}
	for i, t := range r.traces {
		if t == nil {
			continue
		}
		for _, at := range []snapline.Instant{t.CutBegan, t.CutEnded, t.Paused, t.Resumed} {
			if at != snapline.Never {
				o = min(o, int64(at)-int64(r.Clocks[i].Offset))
			}
		}
	}
	return o
}

// kept returns the arrows that say most.
func (r *Report) kept(most int) []arrow {
	kept := slices.Clone(r.arrows)
	if most <= 0 || len(kept) <= most {
		return kept
	}
	rank := func(a arrow) int64 {
		if a.class > before {
			return -1
		}
		if a.class == dropped {
			return math.MaxInt64
		}
		s := r.end(a)
		far := int64(s.At - r.traces[s.member].CutBegan)
		return max(far, -far, 0)
	}
	slices.SortStableFunc(kept, func(a, b arrow) int { return cmp.Compare(rank(a), rank(b)) })
	return kept[:most]
}

func (r *Report) end(a arrow) *seen {
	if a.send >= 0 {
		return &r.sends[a.send]
	}
	return &r.receipts[a.receipt]
}

func (r *Report) packet(a arrow) (*snapline.Packet, bool) {
	p := r.end(a).Packet
	return p, p.Marked || a.receipt >= 0 && r.receipts[a.receipt].Marked
}

// String is a flow's label.
func (k flowKey) String() string {
	name := strconv.Itoa(int(k.protocol))
	switch k.protocol {
	case protocolTCP:
		name = "tcp"
	case protocolUDP:
		name = "udp"
	case 1, 58:
		name = "icmp"
	}
	if k.from.Port() == 0 && k.to.Port() == 0 {
		return name + " " + k.from.Addr().String() + " " + k.to.Addr().String()
	}
	return name + " " + k.from.String() + " " + k.to.String()
}
