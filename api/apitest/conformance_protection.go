package apitest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/snapline/snapline"
)

func testUnknownProtection(t *testing.T, ctx context.Context, s Subject) {
	_, err := s.Service.Protect(ctx, snapline.ProtectRequest{Group: "nosuch", EveryMS: 60_000})
	wantCode(t, "Protect", err, snapline.CodeNotFound)
	wantCode(t, "Unprotect", s.Service.Unprotect(ctx, "nosuch"), snapline.CodeNotFound)
	_, err = s.Service.Recover(ctx, snapline.RecoverRequest{Group: "nosuch"})
	wantCode(t, "Recover", err, snapline.CodeNotFound)
	_, err = s.Service.PlanRecovery(ctx, snapline.RecoverRequest{Group: "nosuch"})
	wantCode(t, "PlanRecovery", err, snapline.CodeNotFound)
	_, err = s.Service.Drain(ctx, snapline.DrainRequest{Host: "nosuch"})
	wantCode(t, "Drain", err, snapline.CodeNotFound)
	wantCode(t, "Undrain", s.Service.Undrain(ctx, "nosuch"), snapline.CodeNotFound)
}

func testProtect(t *testing.T, ctx context.Context, s Subject) {
	must(s.Service.Apply(ctx, s.Group))(t)
	g := s.Group.Name
	_, err := s.Service.Protect(ctx, snapline.ProtectRequest{Group: g, EveryMS: 1, Keep: snapline.KeepPolicy{Last: -1}})
	wantCode(t, "too often, and a negative number", err, snapline.CodeInvalid)
	if e := (*snapline.Error)(nil); errors.As(err, &e) && len(e.Reasons) != 2 {
		t.Errorf("not all reasons at once: %v", e.Reasons)
	}
	wantCode(t, "Unprotect before", s.Service.Unprotect(ctx, g), snapline.CodeNotFound)
	for _, every := range []float64{3600_000, 7200_000} {
		must(s.Service.Protect(ctx, snapline.ProtectRequest{Group: g, EveryMS: every, Keep: snapline.KeepPolicy{Last: 6}}))(t)
		p := must(s.Service.Status(ctx, g))(t).Protection
		if p == nil || p.EveryMS != every || p.MaxLossMS != 2*every || p.Keep.Last != 6 || p.State == "" || p.Since.IsZero() {
			t.Fatalf("protected every %v ms: %+v", every, p)
		}
	}
	if err := s.Service.Unprotect(ctx, g); err != nil {
		t.Fatal(err)
	}
	if p := must(s.Service.Status(ctx, g))(t).Protection; p != nil {
		t.Errorf("after Unprotect: %+v", p)
	}
	all := kinds(must(s.Service.Events(ctx, g, 0))(t))
	if i := slices.Index(all, snapline.EventProtected); i < 0 || !slices.Contains(all[i:], snapline.EventUnprotected) {
		t.Errorf("events %v", all)
	}
}

func testRecoverNothing(t *testing.T, ctx context.Context, s Subject) {
	must(s.Service.Apply(ctx, s.Group))(t)
	_, err := s.Service.Recover(ctx, snapline.RecoverRequest{Group: s.Group.Name})
	wantCode(t, "no snapshot", err, snapline.CodeRefused)
	id := taken(t, ctx, s).Snapshot
	_, err = s.Service.Recover(ctx, snapline.RecoverRequest{Group: s.Group.Name})
	wantCode(t, "all members run", err, snapline.CodeRefused)
	_, err = s.Service.Recover(ctx, snapline.RecoverRequest{Group: s.Group.Name, Dead: []snapline.HostName{s.Group.Members[0].Host}})
	wantCode(t, "a host that is not dead", err, snapline.CodeInvalid)
	p := must(s.Service.PlanRecovery(ctx, snapline.RecoverRequest{Group: s.Group.Name}))(t)
	if p.Snapshot != id || len(p.Place) != len(s.Group.Members) || p.Reasons != nil || p.Lost != nil || p.TakenAt.IsZero() {
		t.Errorf("plan %+v", p)
	}
}

// drainedHosts lists those that the service says are drained.
func drainedHosts(t *testing.T, ctx context.Context, s Subject) (all []snapline.HostName) {
	t.Helper()
	for _, h := range must(s.Service.Hosts(ctx))(t) {
		if h.Drained {
			all = append(all, h.Name)
		}
	}
	return all
}

func testDrain(t *testing.T, ctx context.Context, s Subject) {
	must(s.Service.Apply(ctx, s.Group))(t)
	host := s.Group.Members[0].Host
	_, err := s.Service.Drain(ctx, snapline.DrainRequest{Host: host, DeadlineMS: -1})
	wantCode(t, "a deadline in the past", err, snapline.CodeInvalid)
	if none := drainedHosts(t, ctx, s); none != nil {
		t.Errorf("drained by a mistake: %v", none)
	}
	op := must(s.Service.Drain(ctx, snapline.DrainRequest{Host: host}))(t)
	_, op = follow(t, ctx, s, op.ID, 0)
	if op.State != "done" || op.Kind != "drain" || op.Drain == nil || op.Drain.Host != host || len(op.Drain.Moved) != 1 || op.Drain.Moved[0].Group != s.Group.Name || op.Drain.Released != nil {
		t.Fatalf("drain: %+v, %v", op, op.Error)
	}
	for _, m := range must(s.Service.Status(ctx, s.Group.Name))(t).Members {
		if m.Host == host || m.Host != op.Drain.Moved[0].Place[m.Name] || m.VM != "running" {
			t.Errorf("after the drain of %s: %+v", host, m)
		}
	}
	if all := drainedHosts(t, ctx, s); !slices.Equal(all, []snapline.HostName{host}) {
		t.Errorf("drained hosts %v", all)
	}
	for range 2 {
		if err := s.Service.Undrain(ctx, host); err != nil {
			t.Fatal(err)
		}
	}
	if none := drainedHosts(t, ctx, s); none != nil {
		t.Errorf("drained after Undrain: %v", none)
	}
}
