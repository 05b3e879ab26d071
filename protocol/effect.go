package protocol

import "github.com/snapline/snapline"

// Effect is something that a machine wants done.
type Effect interface{ effect() }

// Send hands a message to the network: to the coordinator from an agent, to
// the agent of the member in the message's Ref from the coordinator.
type Send struct{ Msg Message }

// SetTimer asks for a Rang at the given time.
type SetTimer struct {
	Timer Timer
	At    snapline.Instant
}

func (Send) effect()     {}
func (SetTimer) effect() {}
