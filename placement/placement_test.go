package placement_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/placement"
)

const gib = 1 << 30

func hosts(names ...snapline.HostName) (all []placement.Host) {
	for _, n := range names {
		all = append(all, placement.Host{Name: n, MemoryBytes: 4 * gib, Cores: 4})
	}
	return all
}

func member(n snapline.MemberName, at snapline.HostName) placement.Member {
	return placement.Member{Name: n, RAMBytes: gib, VCPUs: 1, At: at}
}

func TestFind(t *testing.T) {
	three := []placement.Member{member("n1", "h1"), member("n2", "h2"), member("n3", "h3")}
	near := func(m placement.Member, stored int64, near map[snapline.HostName]int64) placement.Member {
		m.StoredBytes, m.Near = stored, near
		return m
	}
	for name, c := range map[string]struct {
		r    placement.Request
		want placement.Plan
	}{
		"survivors stay, the lost one goes where least runs": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: 4 * gib, Busy: 2}, {Name: "h3", MemoryBytes: 4 * gib}}, Members: three},
			placement.Plan{"n1": "h1", "n2": "h3", "n3": "h3"},
		},
		"equal hosts: the first name": {
			placement.Request{Hosts: hosts("h4", "h1"), Members: []placement.Member{member("n2", "h2")}},
			placement.Plan{"n2": "h1"},
		},
		"memory decides": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: 2*gib - 1}, {Name: "h3", MemoryBytes: 2 * gib}}, Members: three},
			placement.Plan{"n1": "h1", "n2": "h3", "n3": "h3"},
		},
		"a survivor makes room": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: 3 * gib}, {Name: "h3", MemoryBytes: gib}},
				Members: []placement.Member{{Name: "big", RAMBytes: 3 * gib, At: "h2"}, member("small", "h1")}},
			placement.Plan{"big": "h1", "small": "h3"},
		},
		"cores before what is near": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: 4 * gib, Cores: 1, Busy: 1}, {Name: "h3", MemoryBytes: 4 * gib, Cores: 1}},
				Members: []placement.Member{near(member("n2", "h2"), gib, map[snapline.HostName]int64{"h1": gib})}},
			placement.Plan{"n2": "h3"},
		},
		"what is near before load": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: 4 * gib, Cores: 8, Busy: 4}, {Name: "h3", MemoryBytes: 4 * gib, Cores: 8}},
				Members: []placement.Member{near(member("n2", "h2"), gib, map[snapline.HostName]int64{"h1": gib / 2})}},
			placement.Plan{"n2": "h1"},
		},
		"kept apart": {
			placement.Request{Hosts: hosts("h1", "h3", "h4"), Members: three, Apart: [][]snapline.MemberName{{"n1", "n2"}, {"n2", "n3"}}},
			placement.Plan{"n1": "h1", "n2": "h4", "n3": "h3"},
		},
		"nobody to place": {placement.Request{Hosts: hosts("h1")}, placement.Plan{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, reasons := placement.Find(c.r)
			if reasons != nil || !maps.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, reasons, c.want)
			}
		})
	}
}

func TestNoRoom(t *testing.T) {
	two := []placement.Member{member("n1", "h1"), member("n2", "h2")}
	for name, c := range map[string]struct {
		r    placement.Request
		want map[snapline.MemberName]string
	}{
		"no host": {placement.Request{Members: two}, map[snapline.MemberName]string{"n1": "no host is there", "n2": "no host is there"}},
		"one is too large": {
			placement.Request{Hosts: hosts("h1", "h3"), Members: append(two, placement.Member{Name: "n3", RAMBytes: 5 * gib})},
			map[snapline.MemberName]string{"n3": "it needs 5120 MiB of memory, and no host has more than 4096 MiB"},
		},
		"together too large": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: gib}}, Members: two},
			map[snapline.MemberName]string{"n1": "together on h1: they need 2048 MiB, 1024 MiB are there", "n2": "together"},
		},
		"too few hosts to keep apart": {
			placement.Request{Hosts: hosts("h1"), Members: two, Apart: [][]snapline.MemberName{{"n1", "n2"}}},
			map[snapline.MemberName]string{"n1": "kept apart from others", "n2": "kept apart from others"},
		},
		"its place is another's": {
			placement.Request{Hosts: []placement.Host{{Name: "h1", MemoryBytes: gib, Not: []snapline.MemberName{"n1"}}}, Members: two[:1]},
			map[snapline.MemberName]string{"n1": "another machine has its place on h1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, reasons := placement.Find(c.r)
			if got != nil || len(reasons) != len(c.want) {
				t.Fatalf("got %v, %v", got, reasons)
			}
			for _, r := range reasons {
				if !strings.Contains(r.Text, c.want[r.Member]) || r.Hint == "" {
					t.Errorf("%s: %q does not say %q", r.Member, r.Text, c.want[r.Member])
				}
			}
		})
	}
}
