package snapline

import (
	"net/netip"
	"time"
)

// Event is something that happened to a group or a host, kept for those who
// were not there. IDs count up and are never used twice; a number that is
// missing was dropped, as the oldest are.
type Event struct {
	ID       uint64      `json:"id"`
	At       time.Time   `json:"at"`
	Kind     EventKind   `json:"kind"`
	Group    GroupName   `json:"group,omitempty"`
	Host     HostName    `json:"host,omitempty"`
	Snapshot SnapshotID  `json:"snapshot,omitempty"`
	Op       OperationID `json:"operation,omitempty"`
	// Text is all of it on one line.
	Text    string   `json:"text"`
	Reasons []Reason `json:"reasons,omitempty"`
	// Code is the error's, of what failed: with CodeRefused nothing was touched.
	Code Code `json:"code,omitempty"`
	// Lost says what a restore has taken back.
	Lost *LostInterval `json:"lost,omitempty"`
}

// EventKind is an event in a word.
type EventKind string

// The kinds of events.
const (
	EventTaken         EventKind = "taken"
	EventTakeFailed    EventKind = "take-failed"
	EventRestored      EventKind = "restored"
	EventRestoreFailed EventKind = "restore-failed"
	EventHostLost      EventKind = "host-lost"     // its agent was not heard of for a lease
	EventHostReturned  EventKind = "host-returned" // it was lost, and is heard of again
	EventHostJoined    EventKind = "host-joined"   // for the first time in this coordinator's life
	EventProtected     EventKind = "protected"
	EventUnprotected   EventKind = "unprotected"
	EventLate          EventKind = "late"    // the last snapshot is older than may be lost
	EventOnTime        EventKind = "on-time" // it is no longer
	EventRecovering    EventKind = "recovering"
	EventRecovered     EventKind = "recovered"
	EventNoRoom        EventKind = "no-room" // a recovery waits for a host to return
	EventNotRecovered  EventKind = "not-recovered"
	EventDraining      EventKind = "draining"
	EventDrained       EventKind = "drained"
	EventReleased      EventKind = "released" // a drain's deadline passed: the members there were ended
	EventUndrained     EventKind = "undrained"
	EventEvicted       EventKind = "evicted" // what a host still ran of a group that was restored elsewhere
)

// EventKinds lists them all.
func EventKinds() []EventKind {
	return []EventKind{EventTaken, EventTakeFailed, EventRestored, EventRestoreFailed, EventHostLost, EventHostReturned, EventHostJoined,
		EventProtected, EventUnprotected, EventLate, EventOnTime, EventRecovering, EventRecovered, EventNoRoom, EventNotRecovered,
		EventDraining, EventDrained, EventReleased, EventUndrained, EventEvicted}
}

// LostInterval is the time that a restore has taken back: what the members did
// in it they no longer know, and what they sent out of the group in it cannot
// be called back.
type LostInterval struct {
	// From is the snapshot's cut, To when the restore let the members run again;
	// both on the coordinator's clock.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Peers are addresses outside the group that members are known to have sent
	// packets to, the latest first. PeersFrom says how they are known, Gaps what may
	// be missing; there are groups of receivers besides, of which nobody is named.
	Peers     []LostPeer `json:"peers,omitempty"`
	PeersFrom string     `json:"peers_from"`
	Gaps      []Reason   `json:"gaps,omitempty"`
}

// LostPeer is an address that may have seen what a member did in a LostInterval.
type LostPeer struct {
	Member  MemberName `json:"member"`
	Address netip.Addr `json:"address"`
	// Last is when the last packet left for it, on the coordinator's clock and not
	// earlier than it did; nil for one that was seen while the cut was made.
	Last *time.Time `json:"last,omitempty"`
}
