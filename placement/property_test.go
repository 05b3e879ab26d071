package placement_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/placement"
)

// request draws a small request, tight enough that many have no plan.
func request(t *rapid.T) placement.Request {
	var r placement.Request
	for i := range rapid.IntRange(0, 4).Draw(t, "hosts") {
		r.Hosts = append(r.Hosts, placement.Host{Name: snapline.HostName(fmt.Sprintf("h%d", i)),
			MemoryBytes: rapid.Int64Range(-1, 6).Draw(t, "memory"), Cores: rapid.IntRange(0, 3).Draw(t, "cores"), Busy: rapid.IntRange(0, 2).Draw(t, "busy")})
	}
	place := rapid.SampledFrom([]snapline.HostName{"", "h0", "h1", "h2", "gone"})
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		r.Members = append(r.Members, placement.Member{Name: snapline.MemberName(fmt.Sprintf("n%d", i)),
			RAMBytes: rapid.Int64Range(1, 4).Draw(t, "ram"), VCPUs: rapid.IntRange(0, 2).Draw(t, "vcpus"),
			StoredBytes: rapid.Int64Range(0, 3).Draw(t, "stored"), At: place.Draw(t, "at"),
			Near: map[snapline.HostName]int64{place.Draw(t, "near host"): rapid.Int64Range(0, 4).Draw(t, "near")}})
	}
	name := rapid.SampledFrom([]snapline.MemberName{"n0", "n1", "n2", "n3"})
	for range rapid.IntRange(0, 2).Draw(t, "sets") {
		r.Apart = append(r.Apart, rapid.SliceOfNDistinct(name, 2, 3, rapid.ID).Draw(t, "apart"))
	}
	for i := range r.Hosts {
		r.Hosts[i].Not = rapid.SliceOfNDistinct(name, 0, 1, rapid.ID).Draw(t, "not")
	}
	return r
}

// valid says, in the words of the package's promise, whether a plan may be used.
func valid(r placement.Request, p placement.Plan) bool {
	for _, h := range r.Hosts {
		var ram int64
		var there []snapline.MemberName
		for _, m := range r.Members {
			if p[m.Name] == h.Name {
				ram += m.RAMBytes
				there = append(there, m.Name)
			}
		}
		if len(there) > 0 && ram > h.MemoryBytes || slices.ContainsFunc(there, func(m snapline.MemberName) bool { return slices.Contains(h.Not, m) }) {
			return false
		}
		for _, set := range r.Apart {
			shared := 0
			for _, m := range set {
				if slices.Contains(there, m) {
					shared++
				}
			}
			if shared > 1 {
				return false
			}
		}
	}
	for _, m := range r.Members {
		if !slices.ContainsFunc(r.Hosts, func(h placement.Host) bool { return h.Name == p[m.Name] }) {
			return false
		}
	}
	return len(p) == len(r.Members)
}

// price is the promised order, worked out over the whole plan at once.
func price(r placement.Request, p placement.Plan) [4]int64 {
	var c [4]int64
	for _, h := range r.Hosts {
		busy := h.Busy
		for _, m := range r.Members {
			if p[m.Name] == h.Name {
				busy += m.VCPUs
			}
		}
		if h.Cores > 0 {
			c[0] += int64(max(0, busy-h.Cores))
		}
		c[3] += int64(busy * busy)
	}
	for _, m := range r.Members {
		c[1] += max(0, m.StoredBytes-m.Near[p[m.Name]])
		if m.At != "" && m.At != p[m.Name] {
			c[2]++
		}
	}
	return c
}

// cheapest tries every plan there is.
func cheapest(r placement.Request) (best placement.Plan) {
	var try func(i int, p placement.Plan)
	try = func(i int, p placement.Plan) {
		if i == len(r.Members) {
			got := price(r, p)
			if valid(r, p) && (best == nil || less(got, price(r, best))) {
				best = maps.Clone(p)
			}
			return
		}
		for _, h := range r.Hosts {
			p[r.Members[i].Name] = h.Name
			try(i+1, p)
		}
		delete(p, r.Members[i].Name)
	}
	try(0, placement.Plan{})
	return best
}

func less(a, b [4]int64) bool { return slices.Compare(a[:], b[:]) < 0 }

// A plan is valid and the cheapest; there is none only if there is none; and it
// does not depend on the order of the request.
func TestPlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := request(t)
		got, reasons := placement.Find(r)
		want := cheapest(r)
		switch {
		case want == nil && (got != nil || len(reasons) == 0):
			t.Fatalf("a plan where there is none: %v, %v", got, reasons)
		case want != nil && (got == nil || !valid(r, got)):
			t.Fatalf("%v is not valid (%v); %v is", got, reasons, want)
		case want != nil && price(r, got) != price(r, want):
			t.Fatalf("%v costs %v, %v costs %v", got, price(r, got), want, price(r, want))
		}
		slices.Reverse(r.Hosts)
		slices.Reverse(r.Members)
		if again, _ := placement.Find(r); !maps.Equal(got, again) {
			t.Fatalf("%v in one order, %v in the other", got, again)
		}
	})
}

// A large group gets a valid plan although not every plan can be tried.
func TestLargeGroup(t *testing.T) {
	var r placement.Request
	for i := range 20 {
		r.Hosts = append(r.Hosts, placement.Host{Name: snapline.HostName(fmt.Sprintf("h%d", i)), MemoryBytes: 8 * gib, Cores: 4})
	}
	var all []snapline.MemberName
	for i := range 20 {
		m := member(snapline.MemberName(fmt.Sprintf("n%d", i)), snapline.HostName(fmt.Sprintf("h%d", i%7)))
		r.Members, all = append(r.Members, m), append(all, m.Name)
	}
	r.Apart = [][]snapline.MemberName{all}
	if got, reasons := placement.Find(r); !valid(r, got) {
		t.Fatalf("%v, %v", got, reasons)
	}
}
