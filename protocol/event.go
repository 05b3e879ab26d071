package protocol

import "github.com/snapline/snapline"

// Event is one input of a machine and the time at which it was seen, on the
// clock of the machine's own host.
type Event struct {
	At    snapline.Instant
	Input Input
}

// Input is what can happen to a machine.
type Input interface{ input() }

// Received is a message that has arrived.
type Received struct{ Msg Message }

// Rang is a timer that was set by SetTimer and has run out. A machine ignores
// timers that it no longer waits for, so none is ever cancelled.
type Rang struct{ Timer Timer }

// Failed is an effect that failed, or its asynchronous work.
type Failed struct {
	Round  snapline.Round
	Effect string
	Reason snapline.Reason
}

func (Received) input() {}
func (Rang) input()     {}
func (Failed) input()   {}

// Timer names what a machine waits for.
type Timer struct {
	Round snapline.Round
	Name  TimerName
}

// TimerName is the kind of a timer.
type TimerName string

// Timers of the machines.
const (
	TimerResend  TimerName = "resend"  // repeat what has not been answered
	TimerPrepare TimerName = "prepare" // coordinator: everybody should be ready
	TimerArm     TimerName = "arm"     // coordinator: Da
	TimerCut     TimerName = "cut"     // coordinator: everybody should have cut
	TimerAbort   TimerName = "abort"   // coordinator: stop waiting for Aborted
	TimerReady   TimerName = "ready"   // agent: Arm should have come
	TimerGate    TimerName = "gate"    // agent: Dg
	TimerRelease TimerName = "release" // agent: the outcome should have come
)
