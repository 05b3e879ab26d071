package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// roundLimit bounds one take or restore of a small group here, most of which
// is spent by emulated processors.
const roundLimit = 90 * time.Second

// take takes a snapshot through the command line, which has to succeed.
func (s *site) take(t *testing.T, flags ...string) snapline.TakeResult {
	t.Helper()
	var r snapline.TakeResult
	s.mustRun(t, &r, append([]string{"take", string(s.group)}, flags...)...)
	var pauses, withheld []any
	for _, m := range r.Members {
		pauses = append(pauses, m.PauseMS)
		withheld = append(withheld, m.Withheld)
		if m.Method != "background-snapshot" {
			t.Logf("%s: %s (%s)", m.Name, m.Method, m.Why)
		}
	}
	t.Logf("%s by %s: %.0f ms, cut %.0f ms, skew %.1f ms, pauses %v ms, withheld %v",
		r.ID, r.Cut.Strategy, r.DurationMS, r.Cut.DurationMS, r.Cut.SkewMS, pauses, withheld)
	if r.State != "committed" || len(r.Members) == 0 {
		t.Fatalf("take: %+v", r)
	}
	return r
}

// restore restores a snapshot through the command line, which has to succeed.
func (s *site) restore(t *testing.T, id snapline.SnapshotID, place string, flags ...string) snapline.RestoreResult {
	t.Helper()
	args := append([]string{"restore", string(id)}, flags...)
	if place != "" {
		args = append(args, "--place", place)
	}
	var r snapline.RestoreResult
	s.mustRun(t, &r, args...)
	t.Logf("%s restored in %.0f ms, skew %.1f ms", r.ID, r.DurationMS, r.SkewMS)
	return r
}

// apply declares the lab's own group.
func (s *site) apply(t *testing.T) {
	t.Helper()
	s.mustRun(t, nil, "apply", "-f", s.GroupFile())
}

// listed are the ids of the snapshots that exist.
func (s *site) listed(t *testing.T) []snapline.SnapshotID {
	t.Helper()
	all, err := s.api.Snapshots(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var ids []snapline.SnapshotID
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	return ids
}

// moment is a step of a running take to do something at: a member's, or any
// member's when there is none.
type moment struct {
	member snapline.MemberName
	step   string
}

func (m moment) is(p snapline.Progress) bool {
	return p.Step == m.step && (m.member == "" || p.Member == m.member)
}

// follow hands every step of an operation to hear until the operation has
// ended, hear returns false, or nobody answers any more. It returns all steps.
func (s *site) follow(t *testing.T, id snapline.OperationID, hear func(snapline.Progress) bool) []snapline.Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), roundLimit)
	defer cancel()
	steps, err := s.api.Progress(ctx, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	var seen []snapline.Progress
	for p := range steps {
		seen = append(seen, p)
		if !hear(p) {
			break
		}
	}
	return seen
}

// begin starts a take.
func (s *site) begin(t *testing.T, cut snapline.Strategy) snapline.Operation {
	t.Helper()
	op, err := s.api.Take(t.Context(), snapline.TakeRequest{Group: s.group, Strategy: cut})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// until follows an operation to a moment.
func (s *site) until(t *testing.T, op snapline.Operation, m moment) {
	t.Helper()
	reached := false
	steps := s.follow(t, op.ID, func(p snapline.Progress) bool {
		reached = reached || m.is(p)
		return !reached
	})
	if !reached {
		end, err := s.api.Operation(t.Context(), op.ID)
		t.Fatalf("%s never came to %+v: %v, %v, %v", op.ID, m, end.Error, err, steps)
	}
}

// end follows an operation to its end.
func (s *site) end(t *testing.T, op snapline.Operation) snapline.Operation {
	t.Helper()
	steps := s.follow(t, op.ID, func(snapline.Progress) bool { return true })
	end, err := s.api.Operation(t.Context(), op.ID)
	if err != nil {
		t.Fatal(err)
	}
	if end.State == "running" {
		t.Fatalf("%s runs on after %v: %v", op.ID, roundLimit, steps)
	}
	return end
}

// aborted follows a take that must not succeed to its end, and checks that it
// left no snapshot.
func (s *site) aborted(t *testing.T, op snapline.Operation, code snapline.Code) *snapline.Error {
	t.Helper()
	end := s.end(t, op)
	if end.Error == nil {
		t.Fatalf("%s succeeded: %+v", op.ID, end.Take)
	}
	t.Logf("%s: %v", op.ID, end.Error)
	if end.Error.Code != code {
		t.Errorf("%s: code %s, want %s: %v", op.ID, end.Error.Code, code, end.Error)
	}
	if slices.Contains(s.listed(t), op.Snapshot) {
		t.Errorf("%s was not taken, and is listed", op.Snapshot)
	}
	return end.Error
}
