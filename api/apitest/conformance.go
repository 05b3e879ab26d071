package apitest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// Subject is a fresh Service for one test and what the suite may ask of it.
type Subject struct {
	Service api.Service
	// Group can be applied, taken and restored; it has at least two members.
	Group snapline.Group
	// Elsewhere places one or more of its members on another host.
	Elsewhere map[snapline.MemberName]snapline.HostName
	// Hold and Release are nil, or make the next operation wait before its end,
	// and let it go on. Hold returns when the operation waits.
	Hold    func(context.Context) snapline.OperationID
	Release func(context.Context)
}

// limit is how long any one test of the suite may take.
const limit = time.Minute

// Conformance checks that what fresh returns is an api.Service. The Subject for
// which held is true holds its operations.
func Conformance(t *testing.T, fresh func(t *testing.T, held bool) Subject) {
	for _, c := range []struct {
		name string
		held bool
		run  func(*testing.T, context.Context, Subject)
	}{
		{"Empty", false, testEmpty},
		{"Unknown", false, testUnknown},
		{"ApplyInvalid", false, testApplyInvalid},
		{"Apply", false, testApply},
		{"Doctor", false, testDoctor},
		{"Take", false, testTake},
		{"TakeInvalid", false, testTakeInvalid},
		{"ProgressAfter", false, testProgressAfter},
		{"Restore", false, testRestore},
		{"RestoreInvalid", false, testRestoreInvalid},
		{"Delete", false, testDelete},
		{"RepositoryInfo", false, testRepositoryInfo},
		{"Prune", false, testPrune},
		{"PruneInvalid", false, testPruneInvalid},
		{"PruneDryRun", false, testPruneDryRun},
		{"Repair", false, testRepair},
		{"Events", false, testEvents},
		{"FollowEvents", false, testFollowEvents},
		{"UnknownProtection", false, testUnknownProtection},
		{"Protect", false, testProtect},
		{"RecoverNothing", false, testRecoverNothing},
		{"Drain", false, testDrain},
		{"Busy", true, testBusy},
		{"PruneWaits", true, testPruneWaits},
		{"PruneCancel", true, testPruneCancel},
		{"ProgressLive", true, testProgressLive},
		{"Cancel", true, testCancel},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			s := fresh(t, c.held)
			if c.held && s.Hold == nil {
				t.Skip("this service's operations cannot be held")
			}
			c.run(t, ctx, s)
		})
	}
}

// code returns the code of err as the edge shows it; "" for nil.
func code(err error) snapline.Code {
	if err == nil {
		return ""
	}
	var e *snapline.Error
	if !errors.As(err, &e) {
		return "not a *snapline.Error"
	}
	return e.Code
}

func wantCode(t *testing.T, what string, err error, want snapline.Code) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("%s: code %q (%v), want %q", what, got, err, want)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func testEmpty(t *testing.T, ctx context.Context, s Subject) {
	if hosts := must(s.Service.Hosts(ctx))(t); len(hosts) == 0 {
		t.Error("no hosts")
	}
	if groups := must(s.Service.Groups(ctx))(t); len(groups) != 0 {
		t.Errorf("groups before any was applied: %v", groups)
	}
	if snaps := must(s.Service.Snapshots(ctx, ""))(t); len(snaps) != 0 {
		t.Errorf("snapshots before any was taken: %v", snaps)
	}
	if snaps := must(s.Service.Snapshots(ctx, "nosuch"))(t); len(snaps) != 0 {
		t.Errorf("snapshots of an unknown group: %v", snaps)
	}
}

func testUnknown(t *testing.T, ctx context.Context, s Subject) {
	_, err := s.Service.Status(ctx, "nosuch")
	wantCode(t, "Status", err, snapline.CodeNotFound)
	_, err = s.Service.Doctor(ctx, "nosuch")
	wantCode(t, "Doctor", err, snapline.CodeNotFound)
	_, err = s.Service.Take(ctx, snapline.TakeRequest{Group: "nosuch"})
	wantCode(t, "Take", err, snapline.CodeNotFound)
	_, err = s.Service.Restore(ctx, snapline.RestoreRequest{Snapshot: "nosuch-1"})
	wantCode(t, "Restore", err, snapline.CodeNotFound)
	_, err = s.Service.Snapshot(ctx, "nosuch-1")
	wantCode(t, "Snapshot", err, snapline.CodeNotFound)
	wantCode(t, "Delete", s.Service.Delete(ctx, "nosuch-1"), snapline.CodeNotFound)
	_, err = s.Service.Operation(ctx, "nosuch")
	wantCode(t, "Operation", err, snapline.CodeNotFound)
	_, err = s.Service.Progress(ctx, "nosuch", 0)
	wantCode(t, "Progress", err, snapline.CodeNotFound)
	wantCode(t, "Cancel", s.Service.Cancel(ctx, "nosuch"), snapline.CodeNotFound)
}

func testApplyInvalid(t *testing.T, ctx context.Context, s Subject) {
	_, err := s.Service.Apply(ctx, snapline.Group{Name: s.Group.Name})
	wantCode(t, "no members", err, snapline.CodeInvalid)
	twice := s.Group
	twice.Members = append(slices.Clone(twice.Members), twice.Members[0], snapline.Member{Name: "UPPER", Host: "h1"})
	_, err = s.Service.Apply(ctx, twice)
	wantCode(t, "duplicate and bad name", err, snapline.CodeInvalid)
	if e := (*snapline.Error)(nil); errors.As(err, &e) && len(e.Reasons) < 2 {
		t.Errorf("not all reasons at once: %v", e.Reasons)
	}
	if groups := must(s.Service.Groups(ctx))(t); len(groups) != 0 {
		t.Errorf("an invalid group was kept: %v", groups)
	}
}

func testApply(t *testing.T, ctx context.Context, s Subject) {
	applied := must(s.Service.Apply(ctx, s.Group))(t)
	if diff := cmp.Diff(s.Group, applied.Group); diff != "" {
		t.Errorf("applied group (-want +got):\n%s", diff)
	}
	if len(applied.Members) != len(s.Group.Members) {
		t.Errorf("status of %d members, want %d", len(applied.Members), len(s.Group.Members))
	}
	must(s.Service.Apply(ctx, s.Group))(t)
	status := must(s.Service.Status(ctx, s.Group.Name))(t)
	for i, m := range status.Members {
		if m.Name != s.Group.Members[i].Name || m.Host != s.Group.Members[i].Host {
			t.Errorf("member %d is %s on %s, want %s on %s", i, m.Name, m.Host, s.Group.Members[i].Name, s.Group.Members[i].Host)
		}
	}
	if groups := must(s.Service.Groups(ctx))(t); len(groups) != 1 || groups[0].Group.Name != s.Group.Name {
		t.Errorf("groups: %v, want just %s", groups, s.Group.Name)
	}
}
