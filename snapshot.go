package snapline

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Snapshot is the record that makes a global snapshot exist. It is written
// once, when every member's data is stored, and never changed.
type Snapshot struct {
	Format int        `json:"format"`
	ID     SnapshotID `json:"id"`
	Group  Group      `json:"group"`
	Note   string     `json:"note,omitempty"`
	// TakenAt is when the cut was asked for, on the coordinator's clock: no member's
	// instant is before it.
	TakenAt time.Time `json:"taken_at"`
	// Scheduled snapshots were taken by a protection, whose retention they obey.
	Scheduled bool             `json:"scheduled,omitempty"`
	Cut       CutReport        `json:"cut"`
	Verdict   *Verdict         `json:"verdict,omitempty"`
	Members   []MemberSnapshot `json:"members"`
}

// SnapshotFormat is the Format of records that this version writes.
const SnapshotFormat = 1

// MemberSnapshot is one member's part of a snapshot.
type MemberSnapshot struct {
	Name     MemberName    `json:"name"`
	Host     HostName      `json:"host"` // where it ran when it was captured
	VM       VMInfo        `json:"vm"`
	Capture  CaptureReport `json:"capture"`
	Counters GateCounters  `json:"counters"`
	Object   Object        `json:"object"`
	// Disks are the writable disks of the same instant.
	Disks []DiskSnapshot `json:"disks,omitempty"`
	// Evidence is nil when there was no gate to record anything.
	Evidence *MemberEvidence `json:"evidence,omitempty"`
}

// DiskSnapshot is one disk of a member.
type DiskSnapshot struct {
	DiskInfo
	// Name is what the repository calls it; no two of a member have the same.
	Name   string `json:"name"`
	Object Object `json:"object"`
	// Backing is the read-only file that the disk stands on, if it does.
	Backing *BackingSnapshot `json:"backing,omitempty"`
}

// BackingSnapshot is the read-only file under a disk.
type BackingSnapshot struct {
	DiskInfo
	Name string `json:"name"` // as DiskSnapshot's
	// Digest is BackingFile's, by which a copy on another host is recognised.
	Digest string `json:"digest"`
	Object Object `json:"object"`
}

// Object is one stored stream or disk.
type Object struct {
	// Digest is the SHA-256 in hex of what the repository keeps as the object's
	// root, from which all the rest of it is authenticated.
	Digest string `json:"digest"`
	// RawBytes is the length of the captured stream or the size of the disk,
	// StoredBytes how much the repository has grown by it.
	RawBytes    int64 `json:"raw_bytes"`
	StoredBytes int64 `json:"stored_bytes"`
}

// DiskObjects yields what the repository keeps of a member's disks and of the
// files below them, by the names that it has for them.
func (m *MemberSnapshot) DiskObjects() iter.Seq2[string, Object] {
	return func(yield func(string, Object) bool) {
		for _, d := range m.Disks {
			if !yield(d.Name, d.Object) {
				return
			}
			if b := d.Backing; b != nil && !yield(b.Name, b.Object) {
				return
			}
		}
	}
}

// Member returns the member's part, or nil.
func (s *Snapshot) Member(n MemberName) *MemberSnapshot {
	for i := range s.Members {
		if s.Members[i].Name == n {
			return &s.Members[i]
		}
	}
	return nil
}

// byRound orders snapshots by their rounds, whatever the groups.
func byRound(a, b Snapshot) int {
	_, m, _ := a.ID.Split() // one that is none sorts first
	_, n, _ := b.ID.Split()
	return cmp.Compare(m, n)
}

// SortByRound puts one group's snapshots in the order in which they were taken,
// also when a clock was set back between two of them.
func SortByRound(list []Snapshot) { slices.SortStableFunc(list, byRound) }
