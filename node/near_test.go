package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// cachedRepo is the site's repository, and what one host has of it near.
type cachedRepo struct {
	snapline.Repository
	near func(context.Context, snapline.MemberSnapshot) snapline.Nearness
}

func (r cachedRepo) Near(ctx context.Context, _ snapline.SnapshotID, m snapline.MemberSnapshot) (snapline.Nearness, error) {
	return r.near(ctx, m), nil
}

// A plan sends members to where their data are. A host that does not answer in
// time has nothing, nor has one that says what cannot be.
func TestPlanKnowsWhatIsNear(t *testing.T) {
	const all = 100 << 20
	only := func(m snapline.MemberName, n snapline.Nearness) func(context.Context, snapline.MemberSnapshot) snapline.Nearness {
		return func(_ context.Context, s snapline.MemberSnapshot) snapline.Nearness {
			if s.Name == m && s.Object.Digest != "" {
				return n
			}
			return snapline.Nearness{}
		}
	}
	hangs := func(ctx context.Context, _ snapline.MemberSnapshot) snapline.Nearness {
		<-ctx.Done()
		return snapline.Nearness{}
	}
	for _, c := range []struct {
		name  string
		near  map[snapline.HostName]func(context.Context, snapline.MemberSnapshot) snapline.Nearness
		to    snapline.HostName // of n1
		found snapline.Nearness
	}{
		{name: "no cache", to: "h1"},
		{"elsewhere", map[snapline.HostName]func(context.Context, snapline.MemberSnapshot) snapline.Nearness{
			"h1": only("n1", snapline.Nearness{Bytes: 10 << 20, Of: all}), "h2": only("n1", snapline.Nearness{Bytes: 90 << 20, Of: all}), "h3": hangs}, "h2", snapline.Nearness{Bytes: 90 << 20, Of: all}},
		{"where it is", map[snapline.HostName]func(context.Context, snapline.MemberSnapshot) snapline.Nearness{
			"h1": only("n1", snapline.Nearness{Bytes: all, Of: all}), "h2": only("n1", snapline.Nearness{Bytes: 5 << 20, Of: 5 << 20})}, "h1", snapline.Nearness{Bytes: all, Of: all}},
		{"nonsense", map[snapline.HostName]func(context.Context, snapline.MemberSnapshot) snapline.Nearness{
			"h2": only("n1", snapline.Nearness{Bytes: all + 1, Of: all}), "h3": only("n1", snapline.Nearness{Bytes: 1 << 60, Of: 1 << 61})}, "h1", snapline.Nearness{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newBareSite(t, func(s *site) { s.near = c.near })
			if _, err := s.c.Apply(t.Context(), s.group()); err != nil {
				t.Fatal(err)
			}
			s.mustTake()
			began := time.Now()
			plan, err := s.c.PlanRecovery(t.Context(), snapline.RecoverRequest{Group: "g"})
			if err != nil || plan.Place["n1"] != c.to || plan.Near["n1"] != c.found {
				t.Errorf("plan %+v, %v", plan, err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the plan took %v", took)
			}
			if moved := c.to != "h1"; moved != (plan.Otherwise["n1"] == "h1") || !moved && plan.Otherwise != nil {
				t.Errorf("otherwise %v", plan.Otherwise)
			}
		})
	}
}
