package apitest

import (
	"context"
	"slices"
	"testing"

	"github.com/snapline/snapline"
)

func testRepositoryInfo(t *testing.T, ctx context.Context, s Subject) {
	info := must(s.Service.RepositoryInfo(ctx))(t)
	if info.ID == "" || info.Location == "" {
		t.Errorf("repository: %+v", info)
	}
	if again := must(s.Service.RepositoryInfo(ctx))(t); again.ID != info.ID || again.Location != info.Location {
		t.Errorf("another repository the second time: %+v, then %+v", info, again)
	}
}

// pruned starts a prune and follows it to its end.
func pruned(t *testing.T, ctx context.Context, s Subject, r snapline.PruneRequest) *snapline.PruneResult {
	t.Helper()
	op := must(s.Service.Prune(ctx, r))(t)
	if op.Kind != "prune" || op.State != "running" && op.State != "done" {
		t.Errorf("started: %+v", op)
	}
	_, op = follow(t, ctx, s, op.ID, 0)
	if op.State != "done" || op.Prune == nil || op.Error != nil {
		t.Fatalf("prune: %+v (%v)", op, op.Error)
	}
	return op.Prune
}

func ids(list []snapline.Snapshot) (all []snapline.SnapshotID) {
	for _, s := range list {
		all = append(all, s.ID)
	}
	return all
}

func testPrune(t *testing.T, ctx context.Context, s Subject) {
	var took []snapline.SnapshotID
	for range 3 {
		took = append(took, taken(t, ctx, s).Snapshot)
	}
	r := pruned(t, ctx, s, snapline.PruneRequest{Group: s.Group.Name, Keep: snapline.KeepPolicy{Last: 1}})
	if !slices.Equal(r.Deleted, took[:2]) || r.Kept != 1 || r.DryRun {
		t.Errorf("deleted %q, kept %d; want %q and 1", r.Deleted, r.Kept, took[:2])
	}
	if left := ids(must(s.Service.Snapshots(ctx, ""))(t)); !slices.Equal(left, took[2:]) {
		t.Errorf("%q are left, want %q", left, took[2:])
	}
	if again := pruned(t, ctx, s, snapline.PruneRequest{Keep: snapline.KeepPolicy{Last: 1}}); len(again.Deleted) != 0 {
		t.Errorf("the same policy deletes %q the second time", again.Deleted)
	}
	if free := pruned(t, ctx, s, snapline.PruneRequest{}); len(free.Deleted) != 0 || len(must(s.Service.Snapshots(ctx, ""))(t)) != 1 {
		t.Errorf("a prune of space alone deleted %q", free.Deleted)
	}
	taken(t, ctx, s)
}

func testPruneInvalid(t *testing.T, ctx context.Context, s Subject) {
	must(s.Service.Apply(ctx, s.Group))(t)
	_, err := s.Service.Prune(ctx, snapline.PruneRequest{Group: s.Group.Name})
	wantCode(t, "a group, and nothing to keep", err, snapline.CodeInvalid)
	_, err = s.Service.Prune(ctx, snapline.PruneRequest{Keep: snapline.KeepPolicy{Last: -1}})
	wantCode(t, "a negative number", err, snapline.CodeInvalid)
	_, err = s.Service.Prune(ctx, snapline.PruneRequest{Group: "nosuch", Keep: snapline.KeepPolicy{Last: 1}})
	wantCode(t, "an unknown group", err, snapline.CodeNotFound)
}

func testPruneDryRun(t *testing.T, ctx context.Context, s Subject) {
	first := taken(t, ctx, s).Snapshot
	taken(t, ctx, s)
	r := pruned(t, ctx, s, snapline.PruneRequest{Keep: snapline.KeepPolicy{Last: 1}, DryRun: true})
	if !r.DryRun || !slices.Equal(r.Deleted, []snapline.SnapshotID{first}) || r.Kept != 1 {
		t.Errorf("dry run: %+v", r)
	}
	if left := must(s.Service.Snapshots(ctx, ""))(t); len(left) != 2 {
		t.Errorf("a dry run left %q", ids(left))
	}
}

func testRepair(t *testing.T, ctx context.Context, s Subject) {
	id := taken(t, ctx, s).Snapshot
	op := must(s.Service.Repair(ctx))(t)
	if _, op = follow(t, ctx, s, op.ID, 0); op.Kind != "repair" || op.State != "done" || op.Repair == nil {
		t.Errorf("repair: %+v (%v)", op, op.Error)
	}
	must(s.Service.Snapshot(ctx, id))(t)
}

// waiting starts a prune while a take is under way, and returns when it has
// said that it waits.
func waiting(t *testing.T, ctx context.Context, s Subject) (take, prune snapline.Operation) {
	t.Helper()
	take = held(t, ctx, s)
	prune = must(s.Service.Prune(ctx, snapline.PruneRequest{}))(t)
	sub, cancel := context.WithCancel(ctx)
	defer cancel()
	for p := range must(s.Service.Progress(sub, prune.ID, 0))(t) {
		if p.Done {
			t.Fatal("a prune did not wait for a take")
		}
		if p.Phase == "wait" && p.Text != "" {
			cancel()
		}
	}
	if ctx.Err() != nil {
		t.Fatal("a prune does not say that it waits")
	}
	return take, prune
}

func testPruneWaits(t *testing.T, ctx context.Context, s Subject) {
	take, prune := waiting(t, ctx, s)
	_, err := s.Service.Prune(ctx, snapline.PruneRequest{})
	wantCode(t, "a second prune", err, snapline.CodeBusy)
	_, err = s.Service.Repair(ctx)
	wantCode(t, "a repair during a prune", err, snapline.CodeBusy)
	s.Release(ctx)
	if _, take = follow(t, ctx, s, take.ID, 0); take.State != "done" {
		t.Errorf("the take that a prune waited for: %+v (%v)", take, take.Error)
	}
	if _, prune = follow(t, ctx, s, prune.ID, 0); prune.State != "done" {
		t.Errorf("the prune that waited: %+v (%v)", prune, prune.Error)
	}
	must(s.Service.Snapshot(ctx, take.Snapshot))(t)
}

func testPruneCancel(t *testing.T, ctx context.Context, s Subject) {
	take, prune := waiting(t, ctx, s)
	for range 2 {
		if err := s.Service.Cancel(ctx, prune.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, prune = follow(t, ctx, s, prune.ID, 0); prune.State != "failed" || prune.Error == nil || prune.Error.Code != snapline.CodeCancelled {
		t.Errorf("cancelled prune: %+v", prune)
	}
	s.Release(ctx)
	if _, take = follow(t, ctx, s, take.ID, 0); take.State != "done" {
		t.Errorf("take: %+v (%v)", take, take.Error)
	}
}
