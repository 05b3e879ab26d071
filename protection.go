package snapline

import (
	"fmt"
	"time"
)

// ProtectRequest asks for snapshots at an interval, and for recovery without a
// person.
type ProtectRequest struct {
	Group GroupName `json:"group"`
	// EveryMS is the time from one snapshot's beginning to the next one's.
	EveryMS float64 `json:"every_ms"`
	// Keep is applied to the snapshots that the protection has taken; others stay.
	// The zero policy keeps all.
	Keep KeepPolicy `json:"keep,omitzero"`
	// MaxLossMS is how old the last snapshot may be before the protection is late;
	// 0: twice EveryMS. A recovery is made all the same, and says what it costs.
	MaxLossMS float64 `json:"max_loss_ms,omitempty"`
}

// MinEvery bounds a protection's interval from below.
const MinEvery = time.Second

// Every and MaxLoss are the durations.
func (r ProtectRequest) Every() time.Duration {
	return time.Duration(r.EveryMS * float64(time.Millisecond))
}

// MaxLoss is Every twice unless it was given.
func (r ProtectRequest) MaxLoss() time.Duration {
	if r.MaxLossMS == 0 {
		return 2 * r.Every()
	}
	return time.Duration(r.MaxLossMS * float64(time.Millisecond))
}

// Problems lists, all at once, why the request makes no sense.
func (r ProtectRequest) Problems() (bad []Reason) {
	if r.Every() < MinEvery || r.EveryMS > 1e12 {
		bad = append(bad, Reason{Text: fmt.Sprintf("every %v: use %v or more", r.Every(), MinEvery)})
	}
	if r.MaxLossMS != 0 && (r.MaxLoss() < r.Every() || r.MaxLossMS > 1e12) {
		bad = append(bad, Reason{Text: fmt.Sprintf("max-loss %v is less than the interval, %v: it would always be late", r.MaxLoss(), r.Every())})
	}
	if r.Keep.Last < 0 || r.Keep.Hourly < 0 || r.Keep.Daily < 0 {
		bad = append(bad, Reason{Text: "a number of snapshots to keep is negative"})
	}
	return bad
}

// ProtectionState is how a protection is, in a word.
type ProtectionState string

// The states of a protection. A later one hides an earlier one.
const (
	ProtectionOK ProtectionState = "ok"
	// ProtectionFailing: the last attempt at a snapshot failed, and is repeated.
	ProtectionFailing ProtectionState = "failing"
	// ProtectionLate: the last snapshot is older than may be lost.
	ProtectionLate ProtectionState = "late"
	// ProtectionUnfenced: a member's network does not close by itself when its
	// host is cut off, so that the host's loss would need a person.
	ProtectionUnfenced ProtectionState = "unfenced"
	// ProtectionRecovering: the group is being restored.
	ProtectionRecovering ProtectionState = "recovering"
	// ProtectionNoRoom: it would be, if the hosts that are left had room.
	ProtectionNoRoom ProtectionState = "no-room"
	// ProtectionBlocked: a host is lost whose members may still be running.
	ProtectionBlocked ProtectionState = "blocked"
)

// ProtectionStates lists them all.
func ProtectionStates() []ProtectionState {
	return []ProtectionState{ProtectionOK, ProtectionFailing, ProtectionLate, ProtectionUnfenced, ProtectionRecovering, ProtectionNoRoom, ProtectionBlocked}
}

// Protection is a group's protection as it is now.
type Protection struct {
	EveryMS   float64    `json:"every_ms"`
	MaxLossMS float64    `json:"max_loss_ms"`
	Keep      KeepPolicy `json:"keep,omitzero"`
	Since     time.Time  `json:"since"`
	// State, and the reasons of one that is not ok.
	State   ProtectionState `json:"state"`
	Reasons []Reason        `json:"reasons,omitempty"`
	// NextAt is when the next snapshot is due.
	NextAt *time.Time `json:"next_at,omitempty"`
}

// RecoverRequest asks for a group to be restored from its last snapshot on the
// hosts that remain.
type RecoverRequest struct {
	Group GroupName `json:"group"`
	// Dead are hosts of which the user knows that they are off: nobody waits for
	// what is known of them.
	Dead []HostName `json:"dead,omitempty"`
}

// RecoveryPlan is what a recovery would do.
type RecoveryPlan struct {
	Group GroupName `json:"group"`
	// Snapshot is the one that would be restored, TakenAt its cut, LossMS its age.
	Snapshot SnapshotID `json:"snapshot"`
	TakenAt  time.Time  `json:"taken_at"`
	LossMS   float64    `json:"loss_ms"`
	// Lost are the hosts that are not there; their members must be known to be cut
	// off.
	Lost []HostName `json:"lost,omitempty"`
	// Place says where each member would go. Empty with Reasons: it cannot be done
	// now.
	Place   map[MemberName]HostName `json:"place,omitempty"`
	Reasons []Reason                `json:"reasons,omitempty"`
	// Near says how much of a member's part of the snapshot is in the cache of the
	// host where it would go; nil: no host has any of it, or none needs a cache.
	Near map[MemberName]Nearness `json:"near,omitempty"`
	// Otherwise is Place as it would be without these caches, where that is another.
	Otherwise map[MemberName]HostName `json:"otherwise,omitempty"`
}

// DrainRequest asks for a host to be given back to its owner.
type DrainRequest struct {
	Host HostName `json:"host"`
	// DeadlineMS is when the host is given back at the latest; 0: a minute.
	DeadlineMS float64 `json:"deadline_ms,omitempty"`
}

// Deadline is the duration.
func (r DrainRequest) Deadline() time.Duration {
	if r.DeadlineMS == 0 {
		return time.Minute
	}
	return time.Duration(r.DeadlineMS * float64(time.Millisecond))
}

// DrainResult is what a drain reports.
type DrainResult struct {
	Host HostName `json:"host"`
	// Moved are the groups that went elsewhere, from a snapshot of just before.
	Moved []MovedGroup `json:"moved"`
	// Released are groups whose members there were ended at the deadline; their
	// recovery goes on.
	Released   []GroupName `json:"released,omitempty"`
	DurationMS float64     `json:"duration_ms"`
}

// MovedGroup is one group's line of a DrainResult.
type MovedGroup struct {
	Group    GroupName               `json:"group"`
	Snapshot SnapshotID              `json:"snapshot"`
	Place    map[MemberName]HostName `json:"place"`
	// SilentMS and TakenBackMS are RestoreResult's. Reasons are why something is
	// taken back: the group could not be silenced, or its recovery was faster.
	SilentMS    float64  `json:"silent_ms,omitempty"`
	TakenBackMS float64  `json:"taken_back_ms"`
	Reasons     []Reason `json:"reasons,omitempty"`
}
