package evidence_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// world is a group in a network, simulated on one true time that nobody in it
// knows, and the truth about every packet. It shares no code with the matcher.
type world struct {
	*rand.Rand
	options   worldOptions
	vms       []*vm
	victim    *vm // of the sabotage
	sendings  []*sending
	arrivals  []*arrival
	content   uint64
	heartbeat uint64
}

type worldOptions struct {
	// Plain worlds have no two packets that look the same, so that there is one
	// right answer to each question.
	plain        bool
	noShield     bool // at one member
	lateMark     bool // one member marks only when it runs again
	noMark       bool // one member does not mark
	deadGate     bool // one member's gate dies before its cut: no marks, no records
	hideSendings bool // one member's records of sendings after the cut vanish
	loseRecords  bool // some records are lost, and counted
	mute         bool // one member does not mark, and no sending of it is recorded
	reliable     bool // the network loses nothing, and the gates record all that arrives
}

// vm is a member. All times are true ones, in nanoseconds.
type vm struct {
	number                                 int
	host                                   int
	offset                                 int64
	rate                                   float64
	v4, v6                                 netip.Addr
	id                                     uint16
	recordFrom, recordTo                   int64
	began, instant, ended                  int64
	markFrom, markTo, shieldFrom, shieldTo int64
	packets                                []snapline.Packet
	lost                                   uint64
}

func (v *vm) clock(t int64) snapline.Instant {
	return snapline.Instant(v.offset + int64(float64(t)*v.rate))
}

// sending is a packet as it leaves its sender, and piece what the network makes of it.
type sending struct {
	snapline.Packet
	from     *vm
	to       []*vm
	at       int64
	recorded bool
	pieces   []*piece
}

type piece struct {
	snapline.Packet
	of *sending
	// content is the same for two packets only if all their bytes are the same.
	content content
	fate    map[*vm][]*arrival
}

type arrival struct {
	snapline.Packet
	at                 int64
	to                 *vm
	pieces             []*piece
	recorded, withheld bool
}

const (
	microsecond = int64(1000)
	millisecond = 1000 * microsecond
	segmentSize = 1448
)

func newWorld(seed uint64, o worldOptions) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), options: o, heartbeat: 77}
	n := 2 + w.IntN(4)
	offsets := make([]int64, n)
	rates := make([]float64, n)
	for i := range offsets {
		offsets[i] = 1e12 + w.Int64N(1e15)
		rates[i] = 1 + (w.Float64()-0.5)*1e-4
	}
	var lastEnd int64
	for i := range n {
		h := w.IntN(n)
		v := &vm{number: i, host: h, offset: offsets[h], rate: rates[h], id: uint16(w.Uint32()),
			v4: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), v6: netip.AddrFrom16([16]byte{0xfd, 15: byte(i + 1)})}
		v.recordFrom = w.Int64N(2 * millisecond)
		v.began = 4*millisecond + w.Int64N(10*millisecond)
		v.ended = v.began + 1 + w.Int64N(6*millisecond)
		v.instant = v.began + w.Int64N(v.ended-v.began)
		v.markFrom, v.shieldFrom, v.shieldTo = v.began-w.Int64N(20*microsecond), v.recordFrom, v.ended+w.Int64N(20*microsecond)
		lastEnd = max(lastEnd, v.shieldTo)
		w.vms = append(w.vms, v)
	}
	for _, v := range w.vms {
		v.markTo = lastEnd + millisecond + w.Int64N(millisecond)
		v.recordTo = v.markTo
		if w.options.reliable {
			v.recordTo += 40 * millisecond
		}
	}
	w.victim = w.vms[w.IntN(n)]
	w.sabotage()
	w.traffic()
	w.deliver()
	return w
}

func (w *world) sabotage() {
	v := w.victim
	switch o := w.options; {
	case o.noShield:
		v.shieldTo = v.shieldFrom
		v.began += 5 * millisecond // the others' packets reach it while it has not cut
		v.instant, v.ended = v.instant+5*millisecond, v.ended+5*millisecond
		v.markFrom = v.began
	case o.lateMark:
		v.markFrom = v.ended + 4*millisecond
	case o.noMark, o.mute:
		v.markFrom = v.markTo
	case o.deadGate:
		v.markFrom, v.recordTo = v.markTo, v.began-w.Int64N(millisecond)
	}
}

func (w *world) group() []evidence.Member {
	var all []evidence.Member
	for _, v := range w.vms {
		m := evidence.Member{Name: v.name()}
		if w.options.plain || w.options.mute {
			m.Addresses = []netip.Addr{v.v4, v.v6}
		}
		all = append(all, m)
	}
	return all
}

func (v *vm) name() snapline.MemberName { return snapline.MemberName(fmt.Sprintf("n%d", v.number)) }

func (w *world) traces() []snapline.Trace {
	var all []snapline.Trace
	for _, v := range w.vms {
		slices.SortStableFunc(v.packets, func(a, b snapline.Packet) int { return cmp.Compare(a.At, b.At) })
		all = append(all, snapline.Trace{Member: v.name(), Host: snapline.HostName(fmt.Sprintf("h%d", v.host)),
			CutBegan: v.clock(v.began), CutEnded: v.clock(v.ended), Lost: v.lost, Packets: v.packets})
	}
	return all
}
