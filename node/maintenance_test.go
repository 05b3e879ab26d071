package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// pruneBy lets a test look on in the middle of each prune.
func (s *site) pruneBy(inside func(ctx context.Context, step int, o snapline.PruneOptions) (more bool, err error)) {
	s.repo.upkeep.mu.Lock()
	defer s.repo.upkeep.mu.Unlock()
	s.repo.upkeep.inside = inside
}

// noClash checks that nobody wrote while somebody pruned.
func (s *site) noClash() {
	s.t.Helper()
	s.repo.upkeep.mu.Lock()
	defer s.repo.upkeep.mu.Unlock()
	if s.repo.upkeep.clash != "" {
		s.t.Error(s.repo.upkeep.clash)
	}
	if s.repo.upkeep.prunes == 0 {
		s.t.Error("nothing was pruned")
	}
}

// holders returns the leases in the store.
func (s *site) holders() []string {
	s.t.Helper()
	b, _, err := s.store.Get(s.t.Context(), "lease.repository")
	if errors.Is(err, snapline.ErrNotFound) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var r struct{ Holders []struct{ Kind, For string } }
	if err := json.Unmarshal(b, &r); err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, h := range r.Holders {
		all = append(all, h.Kind+" "+h.For)
	}
	return all
}

// waitStep follows an operation until a step says so.
func (s *site) waitStep(id snapline.OperationID, phase, text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	steps, err := s.c.Progress(ctx, id, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for p := range steps {
		if p.Phase == phase && strings.Contains(p.Text, text) {
			return
		}
	}
	s.t.Fatalf("%s never said %q %q", id, phase, text)
}

func (s *site) prune() snapline.Operation {
	s.t.Helper()
	op, err := s.c.Prune(s.t.Context(), snapline.PruneRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	return op
}

// ended waits for an operation's end.
func (s *site) ended(op snapline.Operation) snapline.Operation {
	s.t.Helper()
	op, _ = s.follow(op, nil)
	return op
}

// TestTakeWaitsForPrune: a round that begins in a prune touches no machine
// until that is over, or has got as far as a step.
func TestTakeWaitsForPrune(t *testing.T) {
	s := newSite(t)
	s.mustTake()
	reached, goOn := make(chan struct{}), make(chan struct{})
	s.pruneBy(func(_ context.Context, step int, o snapline.PruneOptions) (bool, error) {
		if step == 1 {
			close(reached)
			<-goOn
		}
		return step < 3, nil // three steps
	})
	prune := s.prune()
	<-reached
	take, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	s.waitStep(take.ID, "wait", "for prune (operation "+string(prune.ID)+")")
	if s.repoHolds("g-2") {
		t.Error("the round went on")
	}
	if got := s.holders(); !slices.Equal(got, []string{"prune " + string(prune.ID)}) {
		t.Errorf("leases %q", got)
	}
	close(goOn)
	if take = s.ended(take); take.State != "done" {
		t.Errorf("take: %+v", take.Error)
	}
	if prune = s.ended(prune); prune.State != "done" || prune.Prune.Space.BytesDeleted != 30 || prune.Prune.Space.Packs != 1 {
		t.Errorf("prune: %+v, %v", prune.Prune, prune.Error)
	}
	s.noClash()
	if got := s.holders(); len(got) != 0 {
		t.Errorf("leases %q are left", got)
	}
}

// TestTakeIsRefusedInALongPrune names the prune, and can be cancelled before.
func TestTakeIsRefusedInALongPrune(t *testing.T) {
	s := newSite(t)
	s.c.SetLeaseLimits(100*time.Millisecond, time.Minute, time.Minute)
	reached, goOn := make(chan struct{}), make(chan struct{})
	s.pruneBy(func(ctx context.Context, _ int, _ snapline.PruneOptions) (bool, error) {
		close(reached)
		<-goOn
		return false, nil
	})
	prune := s.prune()
	<-reached
	take := s.take()
	if take.Error == nil || take.Error.Code != snapline.CodeBusy || !strings.Contains(take.Error.Error(), "busy pruning") || !strings.Contains(take.Error.Error(), string(prune.ID)) {
		t.Errorf("take during a prune: %+v", take.Error)
	}
	s.c.SetLeaseLimits(time.Minute, time.Minute, time.Minute)
	op, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	s.waitStep(op.ID, "wait", "")
	if err := s.c.Cancel(t.Context(), op.ID); err != nil {
		t.Fatal(err)
	}
	if op = s.ended(op); op.Error == nil || op.Error.Code != snapline.CodeCancelled {
		t.Errorf("cancelled while it waited: %+v", op.Error)
	}
	s.assertClean()
	close(goOn)
	if prune = s.ended(prune); prune.State != "done" {
		t.Errorf("prune: %v", prune.Error)
	}
	s.mustTake()
	s.noClash()
}

// TestPruneInsists: when rounds leave it no moment, it lets no more of them
// begin, and gives up when those under way take too long.
func TestPruneInsists(t *testing.T) {
	s := newSite(t)
	s.c.SetLeaseLimits(time.Minute, 50*time.Millisecond, 300*time.Millisecond)
	release := s.cloud.holdAt("finish n1")
	t.Cleanup(release)
	take, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	<-s.cloud.heldAt("finish n1")
	prune := s.ended(s.prune())
	if prune.Error == nil || prune.Error.Code != snapline.CodeBusy || !strings.Contains(prune.Error.Error(), "the round of g-1") {
		t.Errorf("prune beside a round that does not end: %+v", prune.Error)
	}
	if got := s.holders(); !slices.Equal(got, []string{"round g-1"}) {
		t.Errorf("leases %q", got)
	}
	s.c.SetLeaseLimits(time.Minute, 50*time.Millisecond, time.Minute)
	op := s.prune()
	eventually(t, "the prune insists", func() bool { return slices.Contains(s.holders(), "prune "+string(op.ID)) })
	release()
	if take = s.ended(take); take.State != "done" {
		t.Errorf("take: %v", take.Error)
	}
	if op = s.ended(op); op.State != "done" {
		t.Errorf("prune: %v", op.Error)
	}
	s.noClash()
}

// TestPruneKeepsWhatIsRestored: deleting waits for a restore of the group.
func TestPruneKeepsWhatIsRestored(t *testing.T) {
	s := newSite(t)
	first := s.mustTake()
	s.mustTake()
	release := s.cloud.holdAt("load n1")
	t.Cleanup(release)
	restore, err := s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: first})
	if err != nil {
		t.Fatal(err)
	}
	<-s.cloud.heldAt("load n1")
	op, err := s.c.Prune(t.Context(), snapline.PruneRequest{Group: "g", Keep: snapline.KeepPolicy{Last: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s.waitStep(op.ID, "wait", "restore of g-1")
	if _, err := s.c.Snapshot(t.Context(), first); err != nil {
		t.Errorf("deleted while it is restored: %v", err)
	}
	release()
	if restore = s.ended(restore); restore.State != "done" {
		t.Errorf("restore: %v", restore.Error)
	}
	if op = s.ended(op); op.State != "done" || !slices.Equal(op.Prune.Deleted, []snapline.SnapshotID{first}) {
		t.Errorf("prune: %+v, %v", op.Prune, op.Error)
	}
}

// TestNextCoordinatorTakesOver: the leases of a dead one are void, and one that
// only seemed dead finds that out before it deletes.
func TestNextCoordinatorTakesOver(t *testing.T) {
	s := newSite(t)
	s.mustTake()
	reached, thaw, late := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s.pruneBy(func(ctx context.Context, step int, o snapline.PruneOptions) (bool, error) {
		if step > 1 {
			return false, o.Allowed(ctx)
		}
		if err := o.Allowed(ctx); err != nil {
			return false, err
		}
		close(reached)
		<-thaw // it is frozen until the next one leads
		late <- o.Allowed(context.WithoutCancel(ctx))
		return false, ctx.Err()
	})
	s.prune()
	<-reached
	if len(s.holders()) != 1 {
		t.Fatalf("leases %q", s.holders())
	}
	stopped := make(chan struct{})
	old := s.stopC
	go func() { defer close(stopped); old() }() // which waits for its prune
	s.startCoordinator()
	s.waitOnline(3)
	if got := s.holders(); len(got) != 0 {
		t.Errorf("leases %q after a takeover", got)
	}
	s.mustTake()
	close(thaw)
	<-stopped
	if err := <-late; code(err) != snapline.CodeUnavailable {
		t.Errorf("a prune of the coordinator before is allowed to delete: %v", err)
	}
	if op := s.ended(s.prune()); op.State != "done" {
		t.Errorf("prune: %v", op.Error)
	}
}

// TestMaintenanceEnds: repair and a prune that fails give the repository back.
func TestMaintenanceEnds(t *testing.T) {
	s := newSite(t)
	s.mustTake()
	info, err := s.c.RepositoryInfo(t.Context())
	if err != nil || info.Location != "memory" || info.ID == "" {
		t.Errorf("repository: %+v, %v", info, err)
	}
	op, err := s.c.Repair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if op = s.ended(op); op.Repair == nil || op.Repair.Packs != 1 || s.repo.upkeep.repairs != 1 {
		t.Errorf("repair: %+v, %v", op.Repair, op.Error)
	}
	s.pruneBy(func(context.Context, int, snapline.PruneOptions) (bool, error) { return false, snapline.ErrDamaged })
	if op := s.ended(s.prune()); op.Error == nil || op.Error.Code != snapline.CodeDamaged || !strings.Contains(op.Error.Hint, "repo check") {
		t.Errorf("prune of a damaged repository: %+v", op.Error)
	}
	if len(s.holders()) != 0 {
		t.Errorf("leases %q are left", s.holders())
	}
}
