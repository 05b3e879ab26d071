package protocol

import "github.com/snapline/snapline"

// Begin says what a round is to do.
type Begin struct {
	Group     snapline.Group
	Round     snapline.Round
	Strategy  snapline.Strategy
	Post      snapline.Codepoint
	Deadlines snapline.Deadlines
	// Hush, if not Never, asks for a cut of members that have been silenced before
	// it, and says until when they may be at the most.
	Hush snapline.Instant
}

// Inputs of a Coordinator beside Received, Rang and Failed.
type (
	// Started begins the round.
	Started struct{}
	// Lost says that the member's agent is not reachable any more.
	Lost struct {
		Member snapline.MemberName
		Reason snapline.Reason
	}
	// Cancelled says that the operator does not want the snapshot any more.
	Cancelled struct{}
	// Recorded completes Record; Err is empty when the snapshot exists now.
	Recorded struct{ Err string }
)

func (Started) input()   {}
func (Lost) input()      {}
func (Cancelled) input() {}
func (Recorded) input()  {}

// Effects of a Coordinator beside Send and SetTimer.
type (
	// Record writes the snapshot's record: the commit point. Completes with
	// Recorded.
	Record struct {
		Round snapline.Round
		Cut   snapline.CutReport
		Parts []snapline.MemberSnapshot
	}
	// Discard removes what an aborted round has left in the repository.
	Discard struct{ Round snapline.Round }
	// Notify tells the operator about progress: a phase began, or a member made
	// a step.
	Notify struct {
		Phase  Phase
		Member snapline.MemberName
		Step   string
	}
	// Hushing says that members are being silenced from now on; or, with reasons,
	// that none is, since some cannot be.
	Hushing struct {
		Round   snapline.Round
		Reasons []snapline.Reason
	}
	// End is the last effect of a round. Problem is nil when it committed.
	End struct{ Problem *snapline.Error }
)

func (Record) effect()  {}
func (Discard) effect() {}
func (Notify) effect()  {}
func (Hushing) effect() {}
func (End) effect()     {}
