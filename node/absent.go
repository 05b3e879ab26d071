package node

import (
	"fmt"
	"slices"

	"github.com/snapline/snapline"
)

// absent are hosts that take no part in a restore, because what runs there talks
// to nobody.
type absent struct {
	Hosts []snapline.HostName `json:"hosts,omitempty"`
	// Withdrawn: the group's protection gives them no leases.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// Dead are those that a person has said to be off.
	Dead []snapline.HostName `json:"dead,omitempty"`
}

func (a absent) has(h snapline.HostName) bool { return slices.Contains(a.Hosts, h) }

func (a absent) dead(h snapline.HostName) bool { return slices.Contains(a.Dead, h) }

// stillAbsent refuses a restore for whose sake leases were withdrawn that have been
// given again meanwhile. From the moment on in which the restore is the group's
// operation they are not: see keeper.readmit.
func (c *Coordinator) stillAbsent(g snapline.GroupName, a absent) error {
	if !a.Withdrawn {
		return nil
	}
	c.fate.Lock()
	defer c.fate.Unlock()
	var r *recoveryRecord
	if k := c.keepers[g]; k != nil {
		r = k.rec.Recovery
	}
	for _, h := range a.Hosts {
		if r == nil || !slices.Contains(r.Gone, h) {
			return &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("host %s, which was lost, is back", h), Hint: "see how it is now: snapline status " + string(g)}
		}
	}
	return nil
}

// restoringNow reports whether a restore of the group is under way.
func (c *Coordinator) restoringNow(g snapline.GroupName) bool {
	op := c.runningOn(g)
	return op != nil && op.state().Kind == kindRestore
}
