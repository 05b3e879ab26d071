package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/snapline/snapline"
)

const strayPrefix = "stray."

// stray is a member that may be living on a host where a restore was to bring it
// that did not come to its end there: the host, or the coordinator, was lost when
// it may have been let run. The group's placement does not know.
type stray struct {
	Member snapline.MemberName `json:"member"`
	Host   snapline.HostName   `json:"host"`
	// Leased: it was to run under a lease, so that it is silent when that is out.
	Leased bool `json:"leased,omitempty"`
}

func (s stray) String() string {
	return "may be running there since a restore that nobody has heard the end of, and no agent of this host is online to stop it"
}

// formerText is of a machine that is no member any more, and so under no lease.
const formerText = "was a member, may be running there, and no agent of this host is online to stop it"

func deadHint(g snapline.GroupName, h snapline.HostName) string {
	return fmt.Sprintf("start the agent on that host again, or, when that host is off: snapline recover %s --dead %s", g, h)
}

// straysOf are the members that a restore was to bring to the hosts.
func straysOf(place map[snapline.MemberName]snapline.HostName, leased bool, hosts ...snapline.HostName) (all []stray) {
	for m, h := range place {
		if slices.Contains(hosts, h) {
			all = append(all, stray{m, h, leased})
		}
	}
	return all
}

// mayRun lists where members may be living that the placement does not know of, as
// far as these hosts cannot be asked and what is there is not surely silent.
func (c *Coordinator) mayRun(g snapline.GroupName) (all []stray) {
	c.fate.Lock()
	defer c.fate.Unlock()
	for _, s := range c.strays[g] {
		if !c.roster.online(s.Host) && !(s.Leased && c.roster.out(s.Host)) {
			all = append(all, s)
		}
	}
	return all
}

// noteStrays remembers strays until the group has been restored.
func (c *Coordinator) noteStrays(g snapline.GroupName, more []stray) {
	if len(more) == 0 {
		return
	}
	c.fate.Lock()
	all := slices.Clone(c.strays[g])
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	c.strays[g] = all
	c.fate.Unlock()
	c.saveStrays(g, all)
}

// forgetStrays is for a group that has been restored: every host that could be
// asked has ended what it had, and of the others it is known that they are silent.
func (c *Coordinator) forgetStrays(g snapline.GroupName) {
	c.fate.Lock()
	had := len(c.strays[g]) > 0
	delete(c.strays, g)
	c.fate.Unlock()
	if had {
		c.saveStrays(g, nil)
	}
}

// saveStrays makes a list durable. A store that does not answer is asked for a
// while: the next coordinator has to know.
func (c *Coordinator) saveStrays(g snapline.GroupName, all []stray) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 2*askLimit)
	defer cancel()
	b, err := json.Marshal(all)
	for ctx.Err() == nil && c.Term.Leads() {
		if err == nil && all == nil {
			err = c.Store.Delete(ctx, strayPrefix+string(g))
		} else if err == nil {
			err = c.Store.Put(ctx, strayPrefix+string(g), b)
		}
		if err == nil {
			return
		}
		c.Log.Warn("note where members may be running", "group", g, "error", err)
		err = nil
		select {
		case <-ctx.Done():
		case <-time.After(helloEvery / 4):
		}
	}
}

// loadStrays reads what earlier coordinators have left.
func (c *Coordinator) loadStrays(ctx context.Context) error {
	keys, err := c.Store.Keys(ctx, strayPrefix)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	for _, key := range keys {
		var all []stray
		b, _, err := c.Store.Get(ctx, key)
		if err == nil {
			err = json.Unmarshal(b, &all)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		c.fate.Lock()
		c.strays[snapline.GroupName(key[len(strayPrefix):])] = all
		c.fate.Unlock()
	}
	return nil
}
