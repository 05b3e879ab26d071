package protocol

import (
	"time"

	"github.com/snapline/snapline"
)

// Inputs of an Agent beside Received, Rang and Failed: completions of its
// effects, and what the host notices by itself.
type (
	// Checked completes Check. Reasons are all causes why the member cannot be
	// cut; without any, the gate is open (rules off), counting, and the capture
	// is primed.
	Checked struct {
		Round    snapline.Round
		Reasons  []snapline.Reason
		MACs     []string
		RAMBytes int64
		// Unhushed is why the VM cannot be silenced; with Check's Hush only.
		Unhushed string
	}
	// ProbesSeen completes ProbePaths.
	ProbesSeen struct {
		Round snapline.Round
		Seen  map[uint32]snapline.Codepoint
	}
	// Paused completes PauseVM.
	Paused struct{ Round snapline.Round }
	// Withheld says that the shield has kept a POST packet from the VM.
	Withheld struct{ Round snapline.Round }
	// Snapped completes Snap. Leaked is the gate's count, read after the instant
	// and while the shield is still up, of POST packets that reached the VM.
	Snapped struct {
		Round  snapline.Round
		Report snapline.CaptureReport
		Leaked uint64
	}
	// GateClosed completes CloseGate, with the final counts.
	GateClosed struct {
		Round    snapline.Round
		Counters snapline.GateCounters
	}
	// Kept completes Store.
	Kept struct {
		Round snapline.Round
		Part  snapline.MemberSnapshot
	}
	// Gone says that the VM's process has gone away.
	Gone struct{ Round snapline.Round }
	// Dropped completes Drop.
	Dropped struct{ Round snapline.Round }
)

func (Checked) input()    {}
func (ProbesSeen) input() {}
func (Paused) input()     {}
func (Withheld) input()   {}
func (Snapped) input()    {}
func (GateClosed) input() {}
func (Kept) input()       {}
func (Gone) input()       {}
func (Dropped) input()    {}

// EffectProbe names ProbePaths in a Failed event. Probes that are repeated may
// outlive the phase that wanted them; then their failure is nobody's.
const EffectProbe = "probe"

// Effects of an Agent beside Send and SetTimer.
type (
	// Check finds out whether the member could be cut and gets everything ready:
	// adopt the VM, list its problems, look at the space, open the gate with all
	// rules off, prime the capture. Completes with Checked.
	Check struct {
		Round    snapline.Round
		Member   snapline.Member
		Strategy snapline.Strategy
		Post     snapline.Codepoint
		// Hush: what can silence the VM is to be got ready, too.
		Hush bool
	}
	// ProbePaths sends probes and looks at what arrived. Completes with
	// ProbesSeen.
	ProbePaths struct {
		Round   snapline.Round
		Nonce   uint64
		Sender  uint32
		Targets []string
	}
	// Hush lets nothing leave the VM until that instant, by the kernel's own clock
	// whatever becomes of the agent; Never ends the silence. It is done when the
	// next effect runs, and outlives the round.
	Hush struct {
		Round snapline.Round
		Until snapline.Instant
	}
	// SetGate sets the gate's rules. It is done when the next effect runs.
	SetGate struct {
		Round snapline.Round
		Rules snapline.GateRules
	}
	// PauseVM stops the VM, with a guard that resumes it after AtMost whatever
	// becomes of us. Completes with Paused.
	PauseVM struct {
		Round  snapline.Round
		AtMost time.Duration
	}
	// Snap makes the local snapshot. Completes with Snapped.
	Snap struct{ Round snapline.Round }
	// CloseGate ends all rules and takes the gate down. Completes with GateClosed
	// as soon as nothing is marked any more.
	CloseGate struct{ Round snapline.Round }
	// Store streams the capture into the repository. Completes with Kept.
	Store struct {
		Round snapline.Round
		Group snapline.GroupName
	}
	// Drop ends whatever the round has here, in any state: capture cancelled,
	// gate down, VM running and let go of, spool removed. Data that is already
	// stored stays. Cannot fail; completes with Dropped.
	Drop struct{ Round snapline.Round }
)

func (Check) effect()      {}
func (ProbePaths) effect() {}
func (Hush) effect()       {}
func (SetGate) effect()    {}
func (PauseVM) effect()    {}
func (Snap) effect()       {}
func (CloseGate) effect()  {}
func (Store) effect()      {}
func (Drop) effect()       {}
