package snapline

import (
	"context"
	"slices"
	"time"
)

// Maintainer is a Repository whose deleted snapshots leave space to be freed,
// and whose indexes can be made anew. Both need the repository for themselves:
// no snapshot may be between its first Put and its Commit, and neither may run
// twice. Whoever calls them excludes that.
type Maintainer interface {
	// Location is where the storage is, without secrets; whoever has the key can
	// open the repository there.
	Location() string
	// Prune frees the space of deleted snapshots and of rounds that were given
	// up. Killed at any moment it leaves the repository whole.
	Prune(ctx context.Context, o PruneOptions) (PruneReport, error)
	// RepairIndex makes the indexes anew of what is stored, and returns how many
	// packs they know; what is wrong with the others comes in the error.
	RepairIndex(ctx context.Context, allowed func(context.Context) error) (packs int, err error)
}

// PruneOptions say how to prune.
type PruneOptions struct {
	// DryRun changes nothing, and reports what would be done.
	DryRun bool
	// Without are snapshots that a dry run takes for deleted.
	Without []SnapshotID
	// MaxWaste is the share of a pack that may be unused before it is written
	// anew; 0 is a third. 1 or more never rewrites.
	MaxWaste float64
	// MaxRewrite bounds what is written anew in one call, in bytes: what is left
	// is reported in More. 0: no bound.
	MaxRewrite int64
	// Allowed is asked again and again before something is deleted; an error ends
	// the prune with it. Nil: always.
	Allowed func(context.Context) error
}

// PruneReport says what a prune did, or would do.
type PruneReport struct {
	Packs          int   `json:"packs"` // before
	Bytes          int64 `json:"bytes"` // in them
	PacksDeleted   int   `json:"packs_deleted"`
	PacksRewritten int   `json:"packs_rewritten"`
	// BytesDeleted includes the rewritten packs, BytesWritten is what they have
	// become; in a dry run an estimate.
	BytesDeleted int64 `json:"bytes_deleted"`
	BytesWritten int64 `json:"bytes_written"`
	// BytesWasted are unused ones that stay, in packs that are not worth writing
	// anew.
	BytesWasted int64 `json:"bytes_wasted"`
	// RootsDeleted counts what rounds that were given up have left.
	RootsDeleted int `json:"roots_deleted"`
	// More says that MaxRewrite ended the prune: there is more to free.
	More bool `json:"more,omitempty"`
}

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

// Remove returns, of a list of snapshots, those that the policy does not want, in
// the list's order. now is not asked for: what counts are hours and days that have
// a snapshot, so that a group that is no longer snapshotted keeps what it has. Which
// of a group's is later, its rounds say: clocks may have been set back.
func (p KeepPolicy) Remove(list []Snapshot) (remove []Snapshot) {
	if p.Last <= 0 && p.Hourly <= 0 && p.Daily <= 0 {
		return nil
	}
	rules := map[GroupName][]*keepRule{}
	unwanted := map[SnapshotID]bool{}
	rounds := slices.Clone(list)
	slices.SortStableFunc(rounds, byRound)
	for _, s := range slices.Backward(rounds) {
		g := s.Group.Name
		if rules[g] == nil {
			rules[g] = []*keepRule{
				{left: p.Last, period: 0},
				{left: p.Hourly, period: time.Hour},
				{left: p.Daily, period: 24 * time.Hour},
			}
		}
		wanted := false
		for _, r := range rules[g] {
			wanted = r.wants(s.TakenAt) || wanted // each rule sees each snapshot
		}
		unwanted[s.ID] = !wanted
	}
	for _, s := range list {
		if unwanted[s.ID] {
			remove = append(remove, s)
		}
	}
	return remove
}

// keepRule wants the latest snapshot of each of the last periods; snapshots
// come latest first.
type keepRule struct {
	left   int
	period time.Duration // 0: each is a period of its own
	begun  bool
	last   time.Time // the period of the last one
}

func (r *keepRule) wants(at time.Time) bool {
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

// PruneRequest asks for old snapshots to be deleted and for space to be freed.
type PruneRequest struct {
	// Group is the one whose snapshots are deleted; "": each of all groups.
	Group GroupName `json:"group,omitempty"`
	// Keep says which stay; the zero policy deletes none, and frees only space.
	Keep KeepPolicy `json:"keep,omitzero"`
	// Scheduled leaves snapshots alone that no protection has taken.
	Scheduled bool `json:"scheduled,omitempty"`
	// DryRun changes nothing, and reports what would be done.
	DryRun bool `json:"dry_run,omitempty"`
}

// Remove returns, of snapshots that are listed oldest first, those that are to
// be deleted, oldest first.
func (r PruneRequest) Remove(list []Snapshot) []Snapshot {
	if r.Scheduled {
		list = slices.DeleteFunc(slices.Clone(list), func(s Snapshot) bool { return !s.Scheduled })
	}
	return r.Keep.Remove(list)
}

// PruneResult is what a prune reports.
type PruneResult struct {
	DryRun bool `json:"dry_run,omitempty"`
	// Deleted are the snapshots, oldest first; Kept counts the others that Keep
	// has looked at.
	Deleted    []SnapshotID `json:"deleted"`
	Kept       int          `json:"kept"`
	Space      PruneReport  `json:"space"`
	DurationMS float64      `json:"duration_ms"`
}

// RepairResult is what a repair of the indexes reports.
type RepairResult struct {
	Packs      int     `json:"packs"` // that the indexes know now
	DurationMS float64 `json:"duration_ms"`
}

// RepositoryInfo says which repository a coordinator uses.
type RepositoryInfo struct {
	ID string `json:"id"`
	// Location has no secrets in it.
	Location string `json:"location"`
	// FreeBytes is how many bytes can still be written, nil when nobody knows.
	FreeBytes *int64 `json:"free_bytes,omitempty"`
}
