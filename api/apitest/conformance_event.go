package apitest

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
)

func kinds(all []snapline.Event) (kinds []snapline.EventKind) {
	for _, e := range all {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// testEvents takes and restores, and finds both in the log.
func testEvents(t *testing.T, ctx context.Context, s Subject) {
	id := taken(t, ctx, s).Snapshot
	op := must(s.Service.Restore(ctx, snapline.RestoreRequest{Snapshot: id}))(t)
	follow(t, ctx, s, op.ID, 0)
	all := must(s.Service.Events(ctx, s.Group.Name, 0))(t)
	if want := []snapline.EventKind{snapline.EventTaken, snapline.EventRestored}; !slices.Equal(kinds(all), want) {
		t.Fatalf("events of the group: %v, want %v", kinds(all), want)
	}
	last := all[1]
	if last.Snapshot != id || last.Op != op.ID || last.Text == "" || last.At.IsZero() || last.Lost == nil || last.Lost.From.IsZero() || last.Lost.PeersFrom == "" {
		t.Errorf("restored: %+v", last)
	}
	after := must(s.Service.Events(ctx, s.Group.Name, all[0].ID))(t)
	if diff := cmp.Diff(all[1:], after); diff != "" {
		t.Errorf("events after the first (-want +got):\n%s", diff)
	}
	if none := must(s.Service.Events(ctx, "nosuch", 0))(t); len(none) != 0 {
		t.Errorf("events of an unknown group: %v", none)
	}
	whole := must(s.Service.Events(ctx, "", 0))(t)
	for i := 1; i < len(whole); i++ {
		if whole[i].ID <= whole[i-1].ID {
			t.Errorf("event %d comes after event %d", whole[i].ID, whole[i-1].ID)
		}
	}
}

// testFollowEvents reads old events, and a new one while it happens.
func testFollowEvents(t *testing.T, ctx context.Context, s Subject) {
	first := taken(t, ctx, s).Snapshot
	before := must(s.Service.Events(ctx, "", 0))(t)
	sub, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen []snapline.Event
	for e := range must(s.Service.FollowEvents(sub, 0))(t) {
		seen = append(seen, e)
		if e.ID == before[len(before)-1].ID {
			must(s.Service.Take(ctx, snapline.TakeRequest{Group: s.Group.Name}))(t)
		}
		if e.Kind == snapline.EventTaken && e.Snapshot != first {
			cancel()
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("the second take is not among the events: %v", kinds(seen))
	}
	if diff := cmp.Diff(must(s.Service.Events(ctx, "", 0))(t)[:len(seen)], seen); diff != "" {
		t.Errorf("followed (-listed +followed):\n%s", diff)
	}
}
