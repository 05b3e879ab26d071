package snapline

import "time"

// Snapshot is the record that makes a global snapshot exist. It is written
// once, when every member's data is stored, and never changed.
type Snapshot struct {
	Format  int              `json:"format"`
	ID      SnapshotID       `json:"id"`
	Group   Group            `json:"group"`
	Note    string           `json:"note,omitempty"`
	TakenAt time.Time        `json:"taken_at"`
	Cut     CutReport        `json:"cut"`
	Members []MemberSnapshot `json:"members"`
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
}

// Object is one member's stored data.
type Object struct {
	// Digest is the SHA-256 of the stored bytes, in hex.
	Digest string `json:"digest"`
	// RawBytes is the length of the captured stream, StoredBytes what the
	// repository holds of it.
	RawBytes    int64 `json:"raw_bytes"`
	StoredBytes int64 `json:"stored_bytes"`
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
