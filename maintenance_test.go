package snapline_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/snapline/snapline"
)

// taken returns snapshots of a group taken at those times.
func taken(group snapline.GroupName, times ...string) (list []snapline.Snapshot) {
	for i, s := range times {
		at, err := time.Parse("02 15:04", s)
		if err != nil {
			panic(err)
		}
		list = append(list, snapline.Snapshot{
			ID: snapline.NewSnapshotID(group, snapline.Round(i+1)), Group: snapline.Group{Name: group}, TakenAt: at,
		})
	}
	return list
}

func TestKeep(t *testing.T) {
	day := taken("g", "01 10:00", "01 10:30", "01 11:05", "02 09:00", "02 09:59", "03 00:00", "03 00:01")
	for _, c := range []struct {
		name   string
		list   []snapline.Snapshot
		p      snapline.KeepPolicy
		remove []snapline.SnapshotID
	}{
		{"nothing said", day, snapline.KeepPolicy{}, nil},
		{"none there", nil, snapline.KeepPolicy{Last: 1}, nil},
		{"last", day, snapline.KeepPolicy{Last: 5}, []snapline.SnapshotID{"g-1", "g-2"}},
		{"more than there are", day, snapline.KeepPolicy{Last: 50}, nil},
		{"hourly", day, snapline.KeepPolicy{Hourly: 3}, []snapline.SnapshotID{"g-1", "g-2", "g-4", "g-6"}},
		{"daily", day, snapline.KeepPolicy{Daily: 2}, []snapline.SnapshotID{"g-1", "g-2", "g-3", "g-4", "g-6"}},
		{"any rule", day, snapline.KeepPolicy{Last: 1, Hourly: 2, Daily: 3}, []snapline.SnapshotID{"g-1", "g-2", "g-4", "g-6"}},
		{"negative", day, snapline.KeepPolicy{Last: -1, Hourly: -1, Daily: 1}, []snapline.SnapshotID{"g-1", "g-2", "g-3", "g-4", "g-5", "g-6"}},
		{"groups apart", slices.Concat(day[:2], taken("h", "01 00:00")), snapline.KeepPolicy{Last: 1}, []snapline.SnapshotID{"g-1"}},
	} {
		var got []snapline.SnapshotID
		for _, s := range c.p.Remove(c.list) {
			got = append(got, s.ID)
		}
		if !slices.Equal(got, c.remove) {
			t.Errorf("%s: removes %q, want %q", c.name, got, c.remove)
		}
	}
}

// TestKeepIsStable: what is kept once is kept again, and the latest always is.
func TestKeepIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []snapline.Snapshot
		for i, m := range rapid.SliceOfN(rapid.IntRange(0, 10_000), 1, 60).Draw(t, "minutes") {
			list = append(list, snapline.Snapshot{
				ID: snapline.NewSnapshotID("g", snapline.Round(i+1)), Group: snapline.Group{Name: "g"},
				TakenAt: time.Date(2026, 7, 1, 0, m, 0, 0, time.UTC),
			})
		}
		slices.SortStableFunc(list, func(a, b snapline.Snapshot) int { return a.TakenAt.Compare(b.TakenAt) })
		n := rapid.IntRange(0, 8)
		p := snapline.KeepPolicy{Last: n.Draw(t, "last"), Hourly: n.Draw(t, "hourly"), Daily: n.Draw(t, "daily")}
		gone := map[snapline.SnapshotID]bool{}
		for _, s := range p.Remove(list) {
			gone[s.ID] = true
		}
		kept := slices.DeleteFunc(slices.Clone(list), func(s snapline.Snapshot) bool { return gone[s.ID] })
		if len(kept) == 0 {
			t.Fatal("none is left")
		}
		if again := p.Remove(kept); len(again) != 0 {
			t.Fatalf("the same policy removes %d more the next time", len(again))
		}
		if gone[snapline.NewSnapshotID("g", snapline.Round(len(list)))] { // whatever the clock said
			t.Fatal("the latest one goes")
		}
	})
}
