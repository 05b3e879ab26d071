package protocol

import (
	"time"

	"github.com/snapline/snapline"
)

// Message is what coordinator and agents say to one another.
type Message interface {
	message()
	// About says which round, member and agent's life the message belongs to.
	About() Ref
}

// Ref is the address of a message in the space of rounds: a message whose Ref
// does not match what its receiver is doing is stale and moves nothing.
type Ref struct {
	Group  snapline.GroupName  `json:"group"`
	Round  snapline.Round      `json:"round"`
	Member snapline.MemberName `json:"member"`
	// Incarnation is the life of the agent that prepared the round. Prepare and
	// Abort carry none.
	Incarnation snapline.Incarnation `json:"incarnation,omitempty"`
}

// About returns the reference itself, which makes every message that embeds a
// Ref say what it is about.
func (r Ref) About() Ref { return r }

// Messages from the coordinator to a member's agent.
type (
	// Prepare asks whether the member could be cut.
	Prepare struct {
		Ref
		Member    snapline.Member    `json:"spec"`
		Strategy  snapline.Strategy  `json:"strategy"`
		Post      snapline.Codepoint `json:"post"`
		Deadlines snapline.Deadlines `json:"deadlines"`
		// Hush: Arm may ask for silence.
		Hush bool `json:"hush,omitempty"`
	}
	// Probe asks for marked probes to the other members' addresses and for what
	// arrived of theirs.
	Probe struct {
		Ref
		Nonce   uint64   `json:"nonce"`
		Sender  uint32   `json:"sender"`
		Targets []string `json:"targets"` // MAC addresses
	}
	// Arm raises the shield (or, for the barrier cut, pauses the VM). Hush, if not
	// zero, silences the VM before: for so long from when Arm is heard, and for
	// HushSpan at the most. From then on whoever gives the agent its orders renews
	// the silence or ends it.
	Arm struct {
		Ref
		Hush time.Duration `json:"hush,omitempty"`
	}
	// Cut asks for mark on, local snapshot, shield off.
	Cut struct{ Ref }
	// Disarm says that every member has cut: mark off.
	Disarm struct{ Ref }
	// Commit says that the snapshot exists.
	Commit struct{ Ref }
	// Abort ends the round wherever it is, and the silence that has outlived it.
	Abort struct {
		Ref
		Why string `json:"why"`
	}
)

// Messages from a member's agent to the coordinator.
type (
	// Prepared says that the member can be cut.
	Prepared struct {
		Ref
		MACs     []string `json:"macs"`
		RAMBytes int64    `json:"ram_bytes"`
		// Unhushed is why the VM cannot be silenced, if that was asked.
		Unhushed string `json:"unhushed,omitempty"`
	}
	// Refused says that this member will not take part in the round any more,
	// and that its gate is down and its VM runs.
	Refused struct {
		Ref
		Reasons []snapline.Reason `json:"reasons"`
	}
	// Probed says what arrived of the other members' probes.
	Probed struct {
		Ref
		Seen map[uint32]snapline.Codepoint `json:"seen"`
	}
	// Armed says that the shield is up (the VM is paused).
	Armed struct{ Ref }
	// CutDone says that the member's local snapshot instant has passed.
	CutDone struct {
		Ref
		Report snapline.CaptureReport `json:"report"`
		// AgoNS is the time from the instant to the sending of this message.
		AgoNS int64 `json:"ago_ns"`
	}
	// Disarmed says that the mark is off and that the gate stood, in this life
	// of the agent, from Armed until now.
	Disarmed struct {
		Ref
		Counters snapline.GateCounters `json:"counters"`
	}
	// Stored says that the member's data is durable in the repository.
	Stored struct {
		Ref
		Part snapline.MemberSnapshot `json:"part"`
	}
	// Aborted says that nothing of the round is left at this member.
	Aborted struct{ Ref }
)

func (Prepare) message()  {}
func (Probe) message()    {}
func (Arm) message()      {}
func (Cut) message()      {}
func (Disarm) message()   {}
func (Commit) message()   {}
func (Abort) message()    {}
func (Prepared) message() {}
func (Refused) message()  {}
func (Probed) message()   {}
func (Armed) message()    {}
func (CutDone) message()  {}
func (Disarmed) message() {}
func (Stored) message()   {}
func (Aborted) message()  {}
