package protocol

import (
	"time"

	"github.com/snapline/snapline"
)

// RestoreMessage is what coordinator and hosts say to one another in a restore.
type RestoreMessage interface {
	restoreMessage()
	// AboutRestore says which restore, host and agent's life it belongs to.
	AboutRestore() RestoreRef
}

// RestoreRef is the address of a message in the space of restores.
type RestoreRef struct {
	Op          snapline.OperationID `json:"op"`
	Host        snapline.HostName    `json:"host"`
	Incarnation snapline.Incarnation `json:"incarnation,omitempty"`
}

// AboutRestore returns the reference itself.
func (r RestoreRef) AboutRestore() RestoreRef { return r }

type (
	// PlanRestore asks whether the host could run these members (perhaps none)
	// and tells it the group whose members it may be asked to stop.
	PlanRestore struct {
		RestoreRef
		Snapshot snapline.SnapshotID `json:"snapshot"`
		Group    snapline.Group      `json:"spec"`
		// Home are the members that have a place here, or may have. Behind the monitors
		// of the others another's machine may be; an instance is what has one of the
		// members' MAC addresses.
		Home []snapline.MemberName `json:"home,omitempty"`
		// Also are members of the group as they are declared now, where that is not as
		// the snapshot has it: an instance may be living there, too.
		Also    []snapline.Member         `json:"also,omitempty"`
		Members []snapline.MemberSnapshot `json:"members"`
		// Replay: ReplayChannel may follow, so what it needs is to be looked at too.
		Replay bool `json:"replay,omitempty"`
		// Addresses are those of all members of the group, wherever they go.
		Addresses snapline.MemberAddresses `json:"addresses"`
		// Quarantine is how long after it was let run a member is kept from packets of
		// the old timeline.
		Quarantine time.Duration `json:"quarantine"`
		// Lease, if not zero, is the one that the members run under.
		Lease time.Duration `json:"lease,omitempty"`
	}
	// StopMembers ends every living instance of the group's members here.
	StopMembers struct{ RestoreRef }
	// LoadMembers starts the planned members, paused.
	// Coloured says that packets of an earlier restore may be under way: then their
	// taps stay shut until they run. Otherwise what members of this restore send
	// waits for them there.
	LoadMembers struct {
		RestoreRef
		Coloured bool `json:"coloured,omitempty"`
	}
	// OpenMembers lets them run.
	OpenMembers struct{ RestoreRef }
	// ReplayChannel delivers the packets that were in transit to the members here.
	// It comes when all members run, everywhere.
	ReplayChannel struct{ RestoreRef }
	// UndoRestore ends what was loaded.
	UndoRestore struct{ RestoreRef }

	// Planned answers PlanRestore: no reasons, no obstacle.
	Planned struct {
		RestoreRef
		Reasons []snapline.Reason `json:"reasons,omitempty"`
	}
	// Stopped answers StopMembers: none is living here. Coloured says that packets
	// may be under way from here which members have marked with RESTORED.
	Stopped struct {
		RestoreRef
		Coloured bool `json:"coloured,omitempty"`
		// Silent are the members that were stopped here after they had been silenced.
		Silent map[snapline.MemberName]Silence `json:"silent,omitempty"`
	}
	// Loaded answers LoadMembers, with the time that each member took.
	Loaded struct {
		RestoreRef
		LoadMS map[snapline.MemberName]float64 `json:"load_ms"`
	}
	// Opened answers OpenMembers; AgoNS is the time since they were resumed.
	Opened struct {
		RestoreRef
		AgoNS int64 `json:"ago_ns"`
	}
	// Replayed answers ReplayChannel: so many packets were delivered.
	Replayed struct {
		RestoreRef
		Packets int `json:"packets"`
	}
	// Undone answers UndoRestore.
	Undone struct{ RestoreRef }
	// RestoreFailed says that a phase after the plan did not work here.
	RestoreFailed struct {
		RestoreRef
		Reasons []snapline.Reason `json:"reasons"`
	}
)

func (PlanRestore) restoreMessage()   {}
func (StopMembers) restoreMessage()   {}
func (LoadMembers) restoreMessage()   {}
func (OpenMembers) restoreMessage()   {}
func (ReplayChannel) restoreMessage() {}
func (Replayed) restoreMessage()      {}
func (UndoRestore) restoreMessage()   {}
func (Planned) restoreMessage()       {}
func (Stopped) restoreMessage()       {}
func (Loaded) restoreMessage()        {}
func (Opened) restoreMessage()        {}
func (Undone) restoreMessage()        {}
func (RestoreFailed) restoreMessage() {}

// Inputs of Restore and RestoreAgent, beside Started and Cancelled.
type (
	// RestoreReceived is a message that has arrived.
	RestoreReceived struct{ Msg RestoreMessage }
	// RestoreRang says that the RestoreTimer has run out.
	RestoreRang struct{}
	// HostLost says that the host's agent is not reachable any more.
	HostLost struct {
		Host   snapline.HostName
		Reason snapline.Reason
	}
	// Acted completes Act.
	Acted struct {
		Op      snapline.OperationID
		Phase   RestorePhase
		Reasons []snapline.Reason
		LoadMS  map[snapline.MemberName]float64
		AgoNS   int64 // RestoreOpen: since the members were resumed
		Packets int   // RestoreReplay: delivered
		// Coloured and Silent are RestoreStop's, see Stopped.
		Coloured bool
		Silent   map[snapline.MemberName]Silence
	}
)

func (RestoreReceived) input() {}
func (RestoreRang) input()     {}
func (HostLost) input()        {}
func (Acted) input()           {}

// Effects of Restore and RestoreAgent.
type (
	// RestoreSend hands a message to the network: to the host from Restore, to
	// the coordinator (Host empty) from RestoreAgent.
	RestoreSend struct {
		Host snapline.HostName
		Msg  RestoreMessage
	}
	// RestoreTimer asks for a RestoreRang; the machine keeps one at a time.
	RestoreTimer struct{ At snapline.Instant }
	// RestoreNotify tells the operator that a phase began or a member passed it.
	RestoreNotify struct {
		Phase  RestorePhase
		Member snapline.MemberName
		Host   snapline.HostName
	}
	// RestoreDone is the last effect of Restore. Problem is nil on success.
	RestoreDone struct {
		Problem *snapline.Error
		SkewMS  float64
		Packets int // replayed
		LoadMS  map[snapline.MemberName]float64
		// Left are hosts that were lost after they may have let members run: nobody
		// knows whether they have.
		Left []snapline.HostName
		// Silent are the members that had been silenced when they were stopped.
		Silent map[snapline.MemberName]Silence
	}
	// Act does the work of a phase on one host. Completes with Acted.
	Act struct {
		Op    snapline.OperationID
		Phase RestorePhase
		Plan  PlanRestore
		// Coloured is RestoreLoad's, see LoadMembers.
		Coloured bool
	}
)

func (RestoreSend) effect()   {}
func (RestoreTimer) effect()  {}
func (RestoreNotify) effect() {}
func (RestoreDone) effect()   {}
func (Act) effect()           {}
