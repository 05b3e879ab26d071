package node_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// newProtected is a site with short leases whose group is protected.
func newProtected(t *testing.T, r snapline.ProtectRequest, options ...func(*site)) *site {
	t.Parallel() // these wait most of the time
	s := newBareSite(t, append(options, func(s *site) {
		s.lease = snapline.MinLease
	})...)
	if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
		t.Fatal(err)
	}
	s.protect(r)
	return s
}

func (s *site) protect(r snapline.ProtectRequest) {
	s.t.Helper()
	r.Group = "g"
	if _, err := s.c.Protect(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

// every is a protection with nothing but an interval.
func every(d time.Duration) snapline.ProtectRequest {
	return snapline.ProtectRequest{EveryMS: float64(d.Milliseconds())}
}

func (s *site) protection() snapline.Protection {
	s.t.Helper()
	st, err := s.c.Status(s.t.Context(), "g")
	if err != nil || st.Protection == nil {
		s.t.Fatalf("status %+v, %v", st, err)
	}
	return *st.Protection
}

// calm waits until the protection is ok, with a snapshot and all members fenced.
func (s *site) calm() {
	s.t.Helper()
	eventually(s.t, "a protection without complaint", func() bool { return s.protection().State == snapline.ProtectionOK && len(s.snapshots()) > 0 })
}

func (s *site) snapshots() []snapline.Snapshot {
	s.t.Helper()
	all, err := s.c.Snapshots(s.t.Context(), "g")
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// awaitEvent waits for an event of a kind that came after another one.
func (s *site) awaitEvent(kind snapline.EventKind, after uint64) snapline.Event {
	s.t.Helper()
	return s.awaitEventWithin(20*time.Second, kind, after)
}

func (s *site) awaitEventWithin(limit time.Duration, kind snapline.EventKind, after uint64) snapline.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	events, err := s.c.FollowEvents(ctx, after)
	if err != nil {
		s.t.Fatal(err)
	}
	var seen []string
	for e := range events {
		if e.Kind == kind {
			return e
		}
		seen = append(seen, e.Text)
	}
	s.t.Fatalf("no event %s within %v; there were:\n%s", kind, limit, strings.Join(seen, "\n"))
	return snapline.Event{}
}

func TestProtectTakesAndRetains(t *testing.T) {
	s := newProtected(t, snapline.ProtectRequest{EveryMS: 1000, Keep: snapline.KeepPolicy{Last: 2}})
	s.awaitEvent(snapline.EventTaken, 0)
	var manual snapline.SnapshotID
	eventually(t, "a moment for a person's own snapshot", func() bool {
		op, err := s.c.Take(t.Context(), snapline.TakeRequest{Group: "g", Note: "mine"})
		if code(err) == snapline.CodeBusy {
			return false
		}
		if op, _ = s.follow(op, err); op.Error != nil {
			t.Fatal(op.Error)
		}
		manual = op.Snapshot
		return true
	})
	eventually(t, "two scheduled snapshots, of later ones, and the person's", func() bool {
		var scheduled []snapline.SnapshotID
		own := false
		for _, snap := range s.snapshots() {
			if snap.Scheduled {
				scheduled = append(scheduled, snap.ID)
			} else {
				own = own || snap.ID == manual
			}
		}
		return own && len(scheduled) == 2 && scheduled[0] > manual
	})
	if err := s.c.Unprotect(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "fences lifted", func() bool {
		for _, f := range s.fences {
			if standing, err := f.Standing(t.Context()); err != nil || len(standing) > 0 {
				return false
			}
		}
		return true
	})
}

func TestFailingTakeIsRepeatedAndLate(t *testing.T) {
	s := newProtected(t, snapline.ProtectRequest{EveryMS: 1000, MaxLossMS: 1500})
	s.calm()
	s.cloud.failAt("finish n2", errBroken)
	failed := s.awaitEvent(snapline.EventTakeFailed, 0)
	if !strings.Contains(errors.Join(reasonsOf(failed)...).Error(), errBroken.Error()) {
		t.Errorf("the event does not say why: %+v", failed)
	}
	late := s.awaitEvent(snapline.EventLate, failed.ID)
	if p := s.protection(); p.State != snapline.ProtectionLate || len(p.Reasons) < 2 {
		t.Errorf("protection %+v", p)
	}
	s.cloud.failAt("finish n2", nil)
	s.awaitEvent(snapline.EventOnTime, late.ID)
	s.calm()
}

func reasonsOf(e snapline.Event) (all []error) {
	for _, r := range e.Reasons {
		all = append(all, errors.New(r.String()))
	}
	return all
}

// A coordinator that is restarted goes on: with the schedule, and with what it
// knew of the fences.
func TestProtectionOutlivesTheCoordinator(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	s.stopC()
	s.startCoordinator()
	s.waitOnline(3)
	s.calm()
	if n := len(s.snapshots()); n != 1 {
		t.Errorf("%d snapshots: the interval began anew", n)
	}
	if p := s.protection(); p.NextAt == nil || time.Until(*p.NextAt) < 50*time.Minute {
		t.Errorf("the next one is due at %v", p.NextAt)
	}
}

// A machine has one protection at most.
func TestProtectRefusesSharedMachines(t *testing.T) {
	s := newProtected(t, every(time.Hour))
	s.calm()
	other := s.group()
	other.Name = "other"
	other.Members = []snapline.Member{{Name: "mine", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/mine.qmp"}}}
	if _, err := s.c.Apply(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	r := every(time.Hour)
	r.Group = "other"
	if _, err := s.c.Protect(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	shared := s.group().Members[2]
	shared.Name = "same-as-n3"
	other.Members = append(other.Members, shared)
	_, err := s.c.Apply(t.Context(), other)
	if e := (*snapline.Error)(nil); !errors.As(err, &e) || e.Code != snapline.CodeRefused || len(e.Reasons) != 1 || e.Reasons[0].Member != "same-as-n3" {
		t.Errorf("apply: %v", err)
	}
	if err := s.c.Unprotect(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Apply(t.Context(), other); err != nil {
		t.Errorf("a group that is not protected may share: %v", err)
	}
	if _, err := s.c.Protect(t.Context(), r); code(err) != snapline.CodeRefused {
		t.Errorf("protect: %v", err)
	}
}
