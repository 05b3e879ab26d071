package protocol

import (
	"time"

	"github.com/snapline/snapline"
)

// Until a quarantine has passed, restored members mark what they send with
// RESTORED and refuse what members' addresses send without it: those are packets
// of the timeline that the restore has abandoned, whose senders are dead.
//
// A second restore soon after the first abandons a timeline whose packets carry
// RESTORED themselves. Its members are let run only when these have died too, a
// quarantine after the last of their senders has been stopped.

// withMargin is a duration that is over on every clock when it is over on ours.
func withMargin(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + 2*snapline.ClockRateMargin))
}
