package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
)

func TestReportCountsEvents(t *testing.T) {
	w := newWatch(nil)
	restored := event(24, snapline.EventRestored, "bank-1", "3")
	restored.Lost = &snapline.LostInterval{From: at(10), To: at(24)}
	for i, e := range []snapline.Event{
		event(12, snapline.EventTaken, "bank-1", "1"),
		event(15, snapline.EventTakeFailed, "", "2"),
		event(20, snapline.EventRecovering, "", ""),
		event(21, snapline.EventRecovering, "", ""), // by the next coordinator
		restored,
		event(25, snapline.EventRecovered, "bank-1", ""),
		event(30, snapline.EventRestored, "bank-1", "4"), // by hand
		event(40, snapline.EventRestoreFailed, "bank-1", "5"),
		event(50, snapline.EventRecovered, "", ""), // the lost host is back with all members
	} {
		e.ID = uint64(i + 1)
		w.events[eventKey{e.ID, e.At.UnixNano()}] = e
	}
	r := newGroupReport("bank")
	r.count(w)
	if r.Taken != 1 || r.NotTaken != 1 || r.Restores != 2 || r.NotDone != 1 || len(r.Events) != 9 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff([]recovery{{At: at(25), Snapshot: "bank-1", TookMS: 5000, LossMS: 14000}}, r.Recoveries); diff != "" {
		t.Error(diff)
	}
}

func TestReportIsOnlyGoodWithoutViolations(t *testing.T) {
	g := newGroupReport("bank")
	r := report{Groups: []*groupReport{g}}
	if r.ok() {
		t.Error("a run without a step is a good one")
	}
	g.Steps = append(g.Steps, stepReport{WellMS: 4200})
	g.Faults[killVM], g.Checks["well"] = 3, 1
	if !r.ok() {
		t.Error("a run without violations is a bad one")
	}
	g.violate(1, "well", errors.New("n1 runs twice"))
	if r.ok() {
		t.Error("a run with a violation is a good one")
	}
	var b bytes.Buffer
	r.print(&b)
	for _, want := range []string{"kill-vm", "4.2; 4.2 s", "1 well", "VIOLATIONS"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, b.String())
		}
	}
	if (report{}).ok() {
		t.Error("a run of no group is a good one")
	}
}
