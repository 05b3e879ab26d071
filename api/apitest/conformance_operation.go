package apitest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
)

// follow reads an operation to its end, checks the steps' ids, and returns the
// operation.
func follow(t *testing.T, ctx context.Context, s Subject, id snapline.OperationID, after uint64) ([]snapline.Progress, snapline.Operation) {
	t.Helper()
	steps := collect(t, ctx, s, id, after)
	if len(steps) == 0 || !steps[len(steps)-1].Done {
		t.Fatalf("progress of %s ended without Done: %v", id, steps)
	}
	return steps, must(s.Service.Operation(ctx, id))(t)
}

func collect(t *testing.T, ctx context.Context, s Subject, id snapline.OperationID, after uint64) []snapline.Progress {
	t.Helper()
	var steps []snapline.Progress
	for p := range must(s.Service.Progress(ctx, id, after))(t) {
		if want := after + uint64(len(steps)) + 1; p.ID != want {
			t.Fatalf("step %d has id %d, want %d", len(steps), p.ID, want)
		}
		steps = append(steps, p)
	}
	return steps
}

// taken applies the group and takes a snapshot of it.
func taken(t *testing.T, ctx context.Context, s Subject) snapline.Operation {
	t.Helper()
	must(s.Service.Apply(ctx, s.Group))(t)
	op := must(s.Service.Take(ctx, snapline.TakeRequest{Group: s.Group.Name, Note: "before the upgrade"}))(t)
	_, op = follow(t, ctx, s, op.ID, 0)
	if op.State != "done" || op.Take == nil || op.Error != nil {
		t.Fatalf("take: %+v", op)
	}
	return op
}

func testTake(t *testing.T, ctx context.Context, s Subject) {
	op := taken(t, ctx, s)
	if op.Kind != "take" || op.Group != s.Group.Name || op.Take.ID != op.Snapshot || op.Take.State != "committed" {
		t.Errorf("operation: %+v", op)
	}
	if op.Take.Cut.Strategy != snapline.Colour {
		t.Errorf("strategy %q, want the default, colour", op.Take.Cut.Strategy)
	}
	if len(op.Take.Members) != len(s.Group.Members) {
		t.Errorf("result of %d members, want %d", len(op.Take.Members), len(s.Group.Members))
	}
	snap := must(s.Service.Snapshot(ctx, op.Snapshot))(t)
	if snap.ID != op.Snapshot || snap.Note != "before the upgrade" || len(snap.Members) != len(s.Group.Members) {
		t.Errorf("snapshot: %+v", snap)
	}
	for _, of := range []snapline.GroupName{"", s.Group.Name} {
		if diff := cmp.Diff([]snapline.Snapshot{snap}, must(s.Service.Snapshots(ctx, of))(t)); diff != "" {
			t.Errorf("snapshots of %q (-want +got):\n%s", of, diff)
		}
	}
	status := must(s.Service.Status(ctx, s.Group.Name))(t)
	if status.Last != snap.ID || status.LastAt == nil || !status.LastAt.Equal(snap.TakenAt) || status.Operation != "" {
		t.Errorf("status after the take: %+v", status)
	}
	if err := s.Service.Cancel(ctx, op.ID); err != nil {
		t.Errorf("cancel of a finished operation: %v", err)
	}
}

func testTakeInvalid(t *testing.T, ctx context.Context, s Subject) {
	must(s.Service.Apply(ctx, s.Group))(t)
	_, err := s.Service.Take(ctx, snapline.TakeRequest{Group: s.Group.Name, Strategy: "magic"})
	wantCode(t, "strategy", err, snapline.CodeInvalid)
}

func testProgressAfter(t *testing.T, ctx context.Context, s Subject) {
	op := taken(t, ctx, s)
	all, _ := follow(t, ctx, s, op.ID, 0)
	last := uint64(len(all))
	for _, after := range []uint64{1, last / 2, last - 1} {
		part, _ := follow(t, ctx, s, op.ID, after)
		if diff := cmp.Diff(all[after:], part); diff != "" {
			t.Errorf("steps after %d (-want +got):\n%s", after, diff)
		}
	}
	for _, after := range []uint64{last, last + 7} {
		for p := range must(s.Service.Progress(ctx, op.ID, after))(t) {
			t.Errorf("a step after %d of %d: %+v", after, last, p)
		}
	}
}

func testRestore(t *testing.T, ctx context.Context, s Subject) {
	id := taken(t, ctx, s).Snapshot
	op := must(s.Service.Restore(ctx, snapline.RestoreRequest{Snapshot: id, Place: s.Elsewhere, ReplayChannel: snapline.ReplayComplete}))(t)
	_, op = follow(t, ctx, s, op.ID, 0)
	if op.Restore != nil && op.Restore.Replayed == nil {
		t.Errorf("nothing is said of the replay: %+v", op.Restore)
	}
	if op.State != "done" || op.Kind != "restore" || op.Restore == nil || op.Restore.ID != id || op.Restore.State != "running" {
		t.Fatalf("restore: %+v", op)
	}
	for i, m := range must(s.Service.Status(ctx, s.Group.Name))(t).Members {
		want := s.Group.Members[i].Host
		if h, placed := s.Elsewhere[m.Name]; placed {
			want = h
		}
		if m.Host != want || op.Restore.Members[i].Host != want || op.Restore.Members[i].From != s.Group.Members[i].Host {
			t.Errorf("member %s is on %s (result: %+v), want %s", m.Name, m.Host, op.Restore.Members[i], want)
		}
	}
}

func testRestoreInvalid(t *testing.T, ctx context.Context, s Subject) {
	id := taken(t, ctx, s).Snapshot
	_, err := s.Service.Restore(ctx, snapline.RestoreRequest{Snapshot: id, Place: map[snapline.MemberName]snapline.HostName{"nosuch": "h1"}})
	wantCode(t, "place of an unknown member", err, snapline.CodeInvalid)
	_, err = s.Service.Restore(ctx, snapline.RestoreRequest{Snapshot: id, ReplayChannel: "nosuch"})
	wantCode(t, "replay of an unknown kind", err, snapline.CodeInvalid)
}

func testDelete(t *testing.T, ctx context.Context, s Subject) {
	id := taken(t, ctx, s).Snapshot
	if err := s.Service.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	_, err := s.Service.Snapshot(ctx, id)
	wantCode(t, "Snapshot", err, snapline.CodeNotFound)
	wantCode(t, "Delete again", s.Service.Delete(ctx, id), snapline.CodeNotFound)
	if next := taken(t, ctx, s).Snapshot; next == id {
		t.Errorf("the id %s of a deleted snapshot was used again", id)
	}
}

// held applies the group and starts a take that waits before its end.
func held(t *testing.T, ctx context.Context, s Subject) snapline.Operation {
	t.Helper()
	must(s.Service.Apply(ctx, s.Group))(t)
	op := must(s.Service.Take(ctx, snapline.TakeRequest{Group: s.Group.Name}))(t)
	if id := s.Hold(ctx); id != op.ID {
		t.Fatalf("operation %s is held, want %s", id, op.ID)
	}
	return op
}

func testBusy(t *testing.T, ctx context.Context, s Subject) {
	op := held(t, ctx, s)
	_, err := s.Service.Take(ctx, snapline.TakeRequest{Group: s.Group.Name})
	wantCode(t, "second take", err, snapline.CodeBusy)
	_, err = s.Service.Apply(ctx, s.Group)
	wantCode(t, "apply", err, snapline.CodeBusy)
	_, err = s.Service.Doctor(ctx, s.Group.Name)
	wantCode(t, "doctor", err, snapline.CodeBusy)
	if status := must(s.Service.Status(ctx, s.Group.Name))(t); status.Operation != op.ID {
		t.Errorf("status names operation %q, want %q", status.Operation, op.ID)
	}
	if now := must(s.Service.Operation(ctx, op.ID))(t); now.State != "running" {
		t.Errorf("state %q of a running operation", now.State)
	}
	if snaps := must(s.Service.Snapshots(ctx, ""))(t); len(snaps) != 0 {
		t.Errorf("listed before it is committed: %v", snaps)
	}
	s.Release(ctx)
	if _, op = follow(t, ctx, s, op.ID, 0); op.State != "done" {
		t.Errorf("after the release: %+v", op)
	}
}

func testProgressLive(t *testing.T, ctx context.Context, s Subject) {
	op := held(t, ctx, s)
	sub, cancel := context.WithCancel(ctx)
	defer cancel()
	var last uint64
	for p := range must(s.Service.Progress(sub, op.ID, 0))(t) {
		if last = p.ID; last == 3 {
			cancel()
		}
	}
	if ctx.Err() != nil || last < 3 {
		t.Fatalf("read to step %d, then %v", last, ctx.Err())
	}
	s.Release(ctx)
	if _, op = follow(t, ctx, s, op.ID, last); op.State != "done" {
		t.Errorf("after the release: %+v", op)
	}
}

func testCancel(t *testing.T, ctx context.Context, s Subject) {
	op := held(t, ctx, s)
	for range 2 {
		if err := s.Service.Cancel(ctx, op.ID); err != nil {
			t.Fatal(err)
		}
	}
	_, op = follow(t, ctx, s, op.ID, 0)
	if op.State != "failed" || op.Error == nil || op.Error.Code != snapline.CodeCancelled || op.Take != nil {
		t.Errorf("cancelled operation: %+v", op)
	}
	if snaps := must(s.Service.Snapshots(ctx, ""))(t); len(snaps) != 0 {
		t.Errorf("a cancelled take left a snapshot: %v", snaps)
	}
}
