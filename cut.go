package snapline

import (
	"fmt"
	"time"
)

// Strategy is how the members' local snapshots are made one consistent cut.
type Strategy string

const (
	// Colour marks the packets sent after the cut and withholds them from
	// members that have not cut yet. No member waits for another.
	Colour Strategy = "colour"
	// Barrier pauses every member before the first one is captured. It needs no
	// gate and no marks; each member is paused until the slowest one is.
	Barrier Strategy = "barrier"
)

// Deadlines bound a round on each machine's own clock, so that no crash leaves
// a virtual machine shielded, marked or paused, and no expiry makes an orphan.
type Deadlines struct {
	// Ready is how long an agent that has prepared waits to be armed.
	Ready time.Duration `json:"ready"`
	// Arm (Da) is how long the coordinator waits for every member to be armed.
	Arm time.Duration `json:"arm"`
	// Cut (Dc) is how long after its own arming a member may still cut.
	Cut time.Duration `json:"cut"`
	// Gate (Dg) is how long after a member's arming its gate rules, or its
	// pause, last at the most.
	Gate time.Duration `json:"gate"`
}

// DefaultDeadlines suit hosts on one site. See docs/PROTOCOL.md for the rule
// that they obey.
func DefaultDeadlines() Deadlines {
	return Deadlines{Ready: 15 * time.Second, Arm: 2 * time.Second, Cut: 3 * time.Second, Gate: 6 * time.Second}
}

// ClockRateMargin is the largest relative difference in rate between two
// machines' clocks that the deadlines allow for.
const ClockRateMargin = 0.01

// Valid reports whether no gate can expire while another member may still cut:
// Da + Dc < Dg, with ClockRateMargin on both sides.
func (d Deadlines) Valid() error {
	if d.Ready <= 0 || d.Arm <= 0 || d.Cut <= 0 || d.Gate <= 0 {
		return fmt.Errorf("deadlines %+v: every one must be above zero", d)
	}
	latest := (float64(d.Arm) + float64(d.Cut)) * (1 + ClockRateMargin)
	if latest >= float64(d.Gate)*(1-ClockRateMargin) {
		return fmt.Errorf("deadlines: arm %v + cut %v must stay below gate %v with a margin of 1 %% on each clock", d.Arm, d.Cut, d.Gate)
	}
	return nil
}

// CutReport says how the cut of a whole group went.
type CutReport struct {
	Strategy Strategy `json:"strategy"`
	// DurationMS is from the first Arm sent to the last Disarmed received, on
	// the coordinator's clock.
	DurationMS float64 `json:"duration_ms"`
	// SkewMS is the time between the first and the last member's instant as the
	// coordinator saw them; its error is one message's travel time.
	SkewMS float64 `json:"skew_ms"`
	// Withheld and Marked count packets over all members' gates.
	Withheld uint64 `json:"withheld"`
	Marked   uint64 `json:"marked"`
}
