package apitest

import (
	"context"
	"slices"
	"testing"

	"github.com/snapline/snapline"
)

// Doctor finds all well but for Options.Ill.
func (f *Fake) Doctor(ctx context.Context, g snapline.GroupName) ([]snapline.Finding, error) {
	var found []snapline.Finding
	if g == "" {
		hosts, err := f.Hosts(ctx)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			found = append(found, snapline.Finding{Host: h.Name, Check: "agent", State: snapline.FindingOK, Text: "online, " + h.Version})
		}
	} else {
		f.mu.Lock()
		defer f.mu.Unlock()
		known := f.groups[g]
		if known == nil {
			return nil, notFound("group", string(g))
		}
		if known.running != nil {
			return nil, busy(g, known)
		}
		for _, m := range known.declared.Members {
			found = append(found, snapline.Finding{Host: known.place[m.Name], Member: m.Name, Check: "member", State: snapline.FindingOK, Text: "can be snapshotted"})
		}
	}
	if f.opts.Ill != nil {
		ill := *f.opts.Ill
		ill.Host, ill.Member = found[0].Host, found[0].Member
		found = slices.Insert(found, 1, ill)
	}
	return found, nil
}

func testDoctor(t *testing.T, ctx context.Context, s Subject) {
	hosts := map[snapline.HostName]bool{}
	for _, f := range must(s.Service.Doctor(ctx, ""))(t) {
		hosts[f.Host] = true
		checkFinding(t, f)
	}
	for _, h := range must(s.Service.Hosts(ctx))(t) {
		if !hosts[h.Name] {
			t.Errorf("nothing was found of host %s", h.Name)
		}
	}
	must(s.Service.Apply(ctx, s.Group))(t)
	members := map[snapline.MemberName]bool{}
	for _, f := range must(s.Service.Doctor(ctx, s.Group.Name))(t) {
		members[f.Member] = true
		checkFinding(t, f)
	}
	for _, m := range s.Group.Members {
		if !members[m.Name] {
			t.Errorf("nothing was found of member %s", m.Name)
		}
	}
	// The group is free again.
	taken(t, ctx, s)
}

func checkFinding(t *testing.T, f snapline.Finding) {
	t.Helper()
	if f.Check == "" || f.Text == "" || f.State == "" {
		t.Errorf("an empty finding: %+v", f)
	}
}
