package snapline

import "time"

// OperationID names one operation while it runs and for some time after.
type OperationID string

// Operation is work of a coordinator that takes its time, under way or done.
type Operation struct {
	ID    OperationID `json:"id"`
	Kind  string      `json:"kind"`  // take, restore, prune, repair, drain
	State string      `json:"state"` // running, done, failed
	// Group and Snapshot are empty where it is about all, or about none.
	Group    GroupName  `json:"group"`
	Snapshot SnapshotID `json:"snapshot"`
	Started  time.Time  `json:"started"`
	// The kind's result or Error is set once State is not running.
	Take    *TakeResult    `json:"take,omitempty"`
	Restore *RestoreResult `json:"restore,omitempty"`
	Prune   *PruneResult   `json:"prune,omitempty"`
	Repair  *RepairResult  `json:"repair,omitempty"`
	Drain   *DrainResult   `json:"drain,omitempty"`
	Error   *Error         `json:"error,omitempty"`
}

// Progress is one step of an operation. IDs count from 1 within an operation,
// so that a reader can go on where it was cut off.
type Progress struct {
	ID     uint64     `json:"id"`
	At     time.Time  `json:"at"`
	Phase  string     `json:"phase,omitempty"`  // set when the phase changes
	Member MemberName `json:"member,omitempty"` // set when one member moved
	Step   string     `json:"step,omitempty"`   // armed, cut, stored, loaded, …
	Bytes  int64      `json:"bytes,omitempty"`  // of Total, in this step
	Total  int64      `json:"total,omitempty"`
	Text   string     `json:"text,omitempty"`
	Done   bool       `json:"done,omitempty"` // the operation has ended
}

// TakeResult is what a take reports.
type TakeResult struct {
	ID         SnapshotID   `json:"id"`
	State      string       `json:"state"` // committed
	DurationMS float64      `json:"duration_ms"`
	Cut        CutReport    `json:"cut"`
	Verdict    *Verdict     `json:"verdict,omitempty"`
	Members    []TakeMember `json:"members"`
}

// TakeMember is one member's line of a TakeResult.
type TakeMember struct {
	Name        MemberName `json:"name"`
	Host        HostName   `json:"host"`
	Method      string     `json:"method"`
	Why         string     `json:"why,omitempty"`
	PauseMS     float64    `json:"pause_ms"`
	RAMBytes    int64      `json:"ram_bytes"`
	StoredBytes int64      `json:"stored_bytes"`
	Withheld    uint64     `json:"withheld"`
}

// RestoreResult is what a restore reports.
type RestoreResult struct {
	ID         SnapshotID      `json:"id"`
	State      string          `json:"state"` // running
	DurationMS float64         `json:"duration_ms"`
	SkewMS     float64         `json:"skew_ms"` // first to last member resumed
	Members    []RestoreMember `json:"members"`
	// Replayed counts the packets in transit that were delivered; nil when nobody
	// asked for it.
	Replayed *int `json:"replayed,omitempty"`
	// SilentMS is how long nothing of the group was heard, if it was silenced before
	// the snapshot's cut, until it ran again. TakenBackMS is for how long members did
	// what is taken back, and were heard; 0: nothing that others have heard is.
	SilentMS    float64 `json:"silent_ms,omitempty"`
	TakenBackMS float64 `json:"taken_back_ms"`
}

// RestoreMember is one member's line of a RestoreResult.
type RestoreMember struct {
	Name   MemberName `json:"name"`
	From   HostName   `json:"from"`
	Host   HostName   `json:"host"`
	LoadMS float64    `json:"load_ms"`
}

// TakeRequest asks for a snapshot of a group.
type TakeRequest struct {
	Group    GroupName `json:"group"`
	Note     string    `json:"note,omitempty"`
	Strategy Strategy  `json:"strategy,omitempty"` // default Colour
}

// RestoreRequest asks for a group to be what it was at a snapshot.
type RestoreRequest struct {
	Snapshot SnapshotID              `json:"snapshot"`
	Place    map[MemberName]HostName `json:"place,omitempty"` // default: where it ran
	// ReplayChannel has the packets delivered that were in transit across the cut,
	// once all members run.
	ReplayChannel Replay `json:"replay_channel,omitempty"`
}

// GroupStatus is a group as the coordinator sees it now.
type GroupStatus struct {
	Group     Group          `json:"group"`
	Operation OperationID    `json:"operation,omitempty"` // running now
	Last      SnapshotID     `json:"last_snapshot,omitempty"`
	LastAt    *time.Time     `json:"last_snapshot_at,omitempty"`
	Members   []MemberStatus `json:"members"`
	// Protection is nil when the group is not protected.
	Protection *Protection `json:"protection,omitempty"`
}

// MemberStatus is one member as its agent sees it now.
type MemberStatus struct {
	Name  MemberName `json:"name"`
	Host  HostName   `json:"host"`  // where it is now
	Agent string     `json:"agent"` // online, offline, unknown
	VM    string     `json:"vm"`    // the hypervisor's word (running, paused, …); gone, unreachable, unknown
	Text  string     `json:"text,omitempty"`
}

// HostStatus is one agent as the coordinator sees it now.
type HostStatus struct {
	Name        HostName    `json:"name"`
	Agent       string      `json:"agent"` // online, offline
	Incarnation Incarnation `json:"incarnation"`
	Version     string      `json:"version"`
	Hypervisor  string      `json:"hypervisor"`
	LastSeen    time.Time   `json:"last_seen"`
	// MemoryBytes is all of it, AvailableBytes what could be given to machines now.
	MemoryBytes    int64 `json:"memory_bytes,omitempty"`
	AvailableBytes int64 `json:"available_bytes,omitempty"`
	Cores          int   `json:"cores,omitempty"`
	// Drained hosts get no members until they are undrained.
	Drained bool `json:"drained,omitempty"`
}
