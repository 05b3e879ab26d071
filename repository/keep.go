package repository

import (
	"slices"
	"time"

	"github.com/snapline/snapline"
)

// KeepPolicy says which snapshots of each group to keep. A snapshot is kept if
// any rule wants it. The zero policy keeps all.
type KeepPolicy struct {
	// Last is how many of the latest.
	Last int `json:"last,omitempty"`
	// Hourly and Daily are for how many hours and days that have a snapshot to
	// keep the latest in it. Days are those of UTC.
	Hourly int `json:"hourly,omitempty"`
	Daily  int `json:"daily,omitempty"`
}

// Keep returns the snapshots that the policy does not want, oldest first. now
// is not asked for: what counts are hours and days that have a snapshot, so
// that a group that is no longer snapshotted keeps what it has.
func Keep(snapshots []snapline.Snapshot, p KeepPolicy) (remove []snapline.Snapshot) {
	if p.Last <= 0 && p.Hourly <= 0 && p.Daily <= 0 {
		return nil
	}
	list := slices.Clone(snapshots)
	slices.SortFunc(list, func(a, b snapline.Snapshot) int { return older(b, a) })
	rules := map[snapline.GroupName][]*rule{}
	for _, s := range list {
		g := s.Group.Name
		if rules[g] == nil {
			rules[g] = []*rule{
				{left: p.Last, period: 0},
				{left: p.Hourly, period: time.Hour},
				{left: p.Daily, period: 24 * time.Hour},
			}
		}
		wanted := false
		for _, r := range rules[g] {
			wanted = r.wants(s.TakenAt) || wanted // each rule sees each snapshot
		}
		if !wanted {
			remove = append(remove, s)
		}
	}
	slices.Reverse(remove)
	return remove
}

// rule wants the latest snapshot of each of the last periods; snapshots come
// latest first.
type rule struct {
	left   int
	period time.Duration // 0: each is a period of its own
	begun  bool
	last   time.Time // the period of the last one
}

func (r *rule) wants(at time.Time) bool {
	if r.left <= 0 {
		return false
	}
	period := at.UTC().Truncate(r.period) // from year 1 on, so days are whole
	if r.period > 0 && r.begun && period.Equal(r.last) {
		return false
	}
	r.begun, r.last = true, period
	r.left--
	return true
}
