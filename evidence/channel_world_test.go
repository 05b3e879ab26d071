package evidence_test

import (
	"strconv"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// keptGroup is the group with what its gates have kept, every queue being empty
// when its machine stands still. A frame's comment is the number of its arrival.
func (w *world) keptGroup() []evidence.Member {
	group := w.group()
	for i, v := range w.vms {
		group[i].Armed = v.clock(w.armed())
		group[i].Drained = v.clock(v.instant) - 1
	}
	for i, a := range w.arrivals {
		if a.recorded && a.Protocol != 6 && (a.withheld || a.at >= a.to.instant) {
			m := &group[a.to.number]
			m.Kept = append(m.Kept, evidence.Frame{Member: m.Name, ID: uint64(a.to.clock(a.at)), Data: frameOf(a.Packet), Comment: strconv.Itoa(i)})
		}
	}
	return group
}

func (w *world) stillTraces() []snapline.Trace {
	all := w.traces()
	for i, v := range w.vms {
		all[i].Paused, all[i].Resumed = v.clock(v.instant)-1, v.clock(v.instant)
	}
	return all
}

// inState reports whether a piece is in its receiver's captured state.
func (p *piece) inState(to *vm) bool {
	for _, a := range p.fate[to] {
		if !a.withheld && a.at < to.instant {
			return true
		}
	}
	return false
}

// armed is a moment in which all gates record.
func (w *world) armed() int64 {
	last := int64(0)
	for _, v := range w.vms {
		last = max(last, v.recordFrom)
	}
	return last + 1
}

// seen reports whether a gate has recorded the piece's arrival.
func (p *piece) seen(to *vm) bool {
	for _, a := range p.fate[to] {
		if a.recorded {
			return true
		}
	}
	return false
}

// TestChannelKnowsTheTruth wants of the channel that it holds nothing that was
// sent after the cut, or is in the receiver's state, or twice; and if it says that
// it is complete, that nothing is missing of what TCP does not repeat. What was
// sent, and lost, before all gates recorded is not the cut's doing.
func TestChannelKnowsTheTruth(t *testing.T) {
	complete, delivered := 0, 0
	for seed := range worlds(t) / 2 {
		w := newWorld(seed, worldOptions{plain: true, reliable: seed%4 != 0})
		got := evidence.Match(w.keptGroup(), w.stillTraces()).Channel
		type at struct {
			*piece
			to *vm
		}
		have := map[at]bool{}
		for _, d := range got.Deliveries {
			i, err := strconv.Atoi(d.Frame.Comment)
			if err != nil {
				t.Fatal(err)
			}
			a := w.arrivals[i]
			p := a.pieces[0]
			switch {
			case p.of.at >= p.of.from.instant:
				t.Fatalf("world %d: %+v was sent after the cut", seed, p.Packet)
			case p.inState(a.to):
				t.Fatalf("world %d: %+v is in its receiver's state", seed, p.Packet)
			case have[at{p, a.to}]:
				t.Fatalf("world %d: %+v is delivered twice", seed, p.Packet)
			case d.Frame.Member != a.to.name():
				t.Fatalf("world %d: %+v is delivered to %s", seed, p.Packet, d.Frame.Member)
			}
			have[at{p, a.to}] = true
			delivered++
		}
		if !got.Complete {
			continue
		}
		complete++
		for _, s := range w.sendings {
			for _, p := range s.pieces {
				for _, to := range s.to {
					due := s.Protocol != 6 && s.at < s.from.instant && !p.inState(to) && (s.at >= w.armed() && !s.Destination.Addr().IsMulticast() || p.seen(to))
					if due && !have[at{p, to}] {
						t.Fatalf("world %d: %+v is missing in a complete channel", seed, p.Packet)
					}
				}
			}
		}
	}
	t.Logf("%d of %d channels are complete; %d packets delivered", complete, worlds(t)/2, delivered)
	if complete < int(worlds(t)/8) || delivered < int(worlds(t)) {
		t.Error("that is too few to show anything")
	}
}
