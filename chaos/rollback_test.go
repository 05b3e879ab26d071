package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
)

func at(s int) time.Time { return time.Unix(int64(s), 0) }

func ns(s int) int64 { return at(s).UnixNano() }

func event(s int, kind snapline.EventKind, id snapline.SnapshotID, op snapline.OperationID) snapline.Event {
	return snapline.Event{At: at(s), Kind: kind, Snapshot: id, Op: op}
}

func refused(e snapline.Event) snapline.Event {
	e.Code = snapline.CodeRefused
	return e
}

func TestRestorations(t *testing.T) {
	const taken, recovering, restored, failed, recovered = snapline.EventTaken, snapline.EventRecovering, snapline.EventRestored, snapline.EventRestoreFailed, snapline.EventRecovered
	cuts := func() map[snapline.SnapshotID]span { return map[snapline.SnapshotID]span{"g-1": {ns(10), ns(11)}} }
	one := func(from, to int, possible bool) restoration {
		return restoration{Snapshot: "g-1", CutFrom: ns(10) - slack, CutTo: ns(11) + slack, From: ns(from), To: ns(to) + slack, Possible: possible}
	}
	for _, c := range []struct {
		name   string
		events []snapline.Event
		asks   []asked
		want   []restoration
	}{
		{"none", []snapline.Event{event(12, taken, "g-1", "1")}, nil, nil},
		{"a recovery", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), event(23, restored, "g-1", "2"), event(24, recovered, "g-1", "")}, nil,
			[]restoration{one(20, 23, false)}},
		{"one that failed, and again", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), event(22, failed, "g-1", "2"), event(25, restored, "g-1", "3")}, nil,
			[]restoration{one(20, 22, true), one(20, 25, false)}},
		{"one that touched nothing, and all run", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), refused(event(22, failed, "g-1", "2")), event(25, recovered, "", "")}, nil, nil},
		{"asked for, and touched nothing", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), refused(event(22, failed, "g-1", "7"))}, []asked{{"7", "g-1", at(21)}},
			[]restoration{one(20, 20, true)}},
		{"two coordinators", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), event(26, recovering, "", ""), event(28, restored, "g-1", "3")}, nil,
			[]restoration{one(20, 28, false), one(20, 20, true)}},
		{"nobody said how it ended, and all run", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), event(28, recovered, "", "")}, nil,
			[]restoration{one(20, 20, true)}},
		{"one that is under way", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", "")}, nil,
			[]restoration{one(20, 20, true)}},
		{"asked for", []snapline.Event{event(12, taken, "g-1", "1"), event(23, restored, "g-1", "7")}, []asked{{"7", "g-1", at(21)}},
			[]restoration{one(21, 23, false)}},
		{"asked for, without an answer", []snapline.Event{event(12, taken, "g-1", "1")}, []asked{{"7", "g-1", at(21)}},
			[]restoration{one(21, 21, true)}},
		{"asked for, and gone on with by another", []snapline.Event{event(12, taken, "g-1", "1"), event(20, recovering, "", ""), event(33, restored, "g-1", "9")}, []asked{{"7", "g-1", at(19)}},
			[]restoration{one(19, 33, false), one(19, 19, true)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, restorations(c.events, c.asks, cuts()), cmp.AllowUnexported(restoration{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
