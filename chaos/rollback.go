package main

import (
	"slices"
	"time"

	"github.com/snapline/snapline"
)

// slack is for figures that were rounded on their way.
const slack = int64(time.Millisecond)

// restorations reads out of a group's events when it was taken back to which
// snapshot. A restore that has ended well did that, at some moment after it had begun. One
// that failed, or whose coordinator died over it, may have let members run before:
// it is possible, at any time from then on.
func restorations(events []snapline.Event, asks []asked, cuts map[snapline.SnapshotID]span) (all []restoration) {
	b := builder{cuts: cuts, asks: map[snapline.OperationID]asked{}, taken: map[snapline.SnapshotID]time.Time{}}
	for _, a := range asks {
		b.asks[a.op] = a
	}
	for _, e := range events {
		b.read(e)
	}
	b.giveUp(b.last) // a recovery that is not at its end
	for _, a := range b.asks {
		b.add(a.snapshot, a.at, a.at, true) // nobody has said how it ended
	}
	return b.all
}

type builder struct {
	cuts  map[snapline.SnapshotID]span
	asks  map[snapline.OperationID]asked // that have not ended
	taken map[snapline.SnapshotID]time.Time
	last  snapline.SnapshotID // taken
	// attempts are the recoveries that began since the group ran last.
	attempts []time.Time
	all      []restoration
}

func (b *builder) read(e snapline.Event) {
	switch e.Kind {
	case snapline.EventTaken:
		b.taken[e.Snapshot], b.last = e.At, e.Snapshot
	case snapline.EventRecovering:
		b.attempts = append(b.attempts, e.At)
	case snapline.EventRestoreFailed:
		_, mine := b.asks[e.Op]
		switch {
		case e.Code != snapline.CodeRefused:
			b.add(e.Snapshot, b.began(e), e.At, true)
		case !mine && len(b.attempts) > 0: // it has touched nothing
			b.attempts = b.attempts[1:]
		}
		delete(b.asks, e.Op)
	case snapline.EventRestored:
		from := b.began(e)
		if b.cuts[e.Snapshot] == (span{}) && e.Lost != nil {
			b.cut(e.Snapshot, e.Lost.From, from)
		}
		b.add(e.Snapshot, from, e.At, false)
		delete(b.asks, e.Op)
		if len(b.attempts) > 1 { // the others may have got as far
			b.attempts = b.attempts[:len(b.attempts)-1]
			b.giveUp(e.Snapshot)
		}
		b.attempts = nil
	case snapline.EventRecovered:
		b.giveUp(b.last) // it runs without a restore that has ended
	}
}

// began is when the restore of an event may have begun to stop members.
func (b *builder) began(e snapline.Event) time.Time {
	at := b.taken[e.Snapshot] // at the earliest
	if a, mine := b.asks[e.Op]; mine {
		at = a.at
	} else if len(b.attempts) > 0 {
		at = b.attempts[0]
	}
	for _, a := range b.asks { // one that a later coordinator has gone on with
		if a.snapshot == e.Snapshot && a.at.Before(at) {
			at = a.at
		}
	}
	return at
}

// giveUp notes the attempts that may have taken the group back.
func (b *builder) giveUp(to snapline.SnapshotID) {
	for _, at := range b.attempts {
		b.add(to, at, at, true)
	}
	b.attempts = nil
}

// cut notes what is known of a snapshot whose record nobody has seen.
func (b *builder) cut(id snapline.SnapshotID, from, to time.Time) {
	if at, ok := b.taken[id]; ok && at.Before(to) {
		to = at
	}
	b.cuts[id] = span{from.UnixNano(), to.UnixNano()}
}

func (b *builder) add(id snapline.SnapshotID, from, to time.Time, possible bool) {
	at, known := b.cuts[id]
	if !known {
		// From the snapshot's own event at the latest; how early, nobody knows.
		at = span{0, from.UnixNano()}
		if t, ok := b.taken[id]; ok {
			at = span{t.Add(-time.Minute).UnixNano(), t.UnixNano()}
		}
	}
	b.all = append(b.all, restoration{Snapshot: string(id), CutFrom: at.from - slack, CutTo: at.to + slack,
		From: from.UnixNano(), To: to.UnixNano() + slack, Possible: possible})
}

// certain leaves those out that may not have been.
func certain(all []restoration) []restoration {
	return slices.DeleteFunc(slices.Clone(all), func(r restoration) bool { return r.Possible })
}
