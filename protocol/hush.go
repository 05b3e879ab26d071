package protocol

import "github.com/snapline/snapline"

// A snapshot from which a group is to go on elsewhere must not take back what
// others have heard from it. So its members are silenced before the cut and stay
// so until they have been stopped: what they have said is in the snapshot, and
// what they do later nobody hears (output commit; Cully et al., Remus, 2008).
// Arm begins the silence, as all are armed before the first one cuts; it outlives
// the round, and whoever has asked for the round renews it and ends it.

// hush decides at ARM whether members are silenced: all or none, for with one that
// goes on speaking the others' silence would be in vain.
func (c *Coordinator) hush(now snapline.Instant) []Effect {
	if c.hushUntil == snapline.Never {
		return nil
	}
	var reasons []snapline.Reason
	for _, m := range c.members {
		if m.unhushed != "" {
			reasons = append(reasons, snapline.Reason{Member: m.spec.Name, Host: m.spec.Host, Text: m.unhushed})
		}
	}
	// Arm may be repeated until Da: the last one must not last too long either.
	left := c.hushUntil.Sub(now) - c.deadlines.Arm
	if reasons == nil && left <= 0 {
		reasons = []snapline.Reason{{Text: "there is no time left for it"}}
	}
	if reasons == nil {
		c.silence = left
	}
	return []Effect{Hushing{c.round, reasons}}
}

// Silence is what a host knows of a member that was silenced, when its machine has
// been stopped.
type Silence struct {
	// Round is the one before whose cut it began.
	Round snapline.Round `json:"round"`
	// ForNS is how long it lasted, HeardNS how long the machine ran on afterwards and
	// was heard: zero if it was silent to its end.
	ForNS   int64 `json:"for_ns"`
	HeardNS int64 `json:"heard_ns,omitempty"`
}
