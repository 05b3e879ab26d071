package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/placement"
)

// recovery is what is known when a group is to be brought back.
type recovery struct {
	group snapline.Group // as it is declared, each member where it is
	// gone are hosts that take no part: lost ones, and released ones.
	gone map[snapline.HostName]bool
	// missing are members whose machine is gone from a host that is there.
	missing []snapline.Reason
	// bad are snapshots that have turned out to be damaged.
	bad map[snapline.SnapshotID]bool
}

// errNoRoom is a plan without a place for everybody.
type errNoRoom struct{ plan snapline.RecoveryPlan }

func (e errNoRoom) Error() string {
	return fmt.Sprintf("there is no room for %s: %s", e.plan.Group, e.plan.Reasons[0])
}

// plan chooses the snapshot and the hosts. errNoRoom when there is no place for
// everybody now.
func (c *Coordinator) plan(ctx context.Context, r recovery) (snapline.RecoveryPlan, snapline.Snapshot, error) {
	p := snapline.RecoveryPlan{Group: r.group.Name, Lost: slices.Sorted(maps.Keys(r.gone))}
	all, err := c.Snapshots(ctx, r.group.Name)
	if err != nil {
		return p, snapline.Snapshot{}, err
	}
	all = slices.DeleteFunc(all, func(s snapline.Snapshot) bool {
		return r.bad[s.ID] || s.Verdict != nil && s.Verdict.State == snapline.Inconsistent
	})
	if len(all) == 0 {
		return p, snapline.Snapshot{}, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("group %s has no snapshot to go back to", r.group.Name), Hint: "snapline take " + string(r.group.Name)}
	}
	return c.planFor(ctx, r, all[len(all)-1])
}

// planFor chooses the hosts for one snapshot.
func (c *Coordinator) planFor(ctx context.Context, r recovery, s snapline.Snapshot) (snapline.RecoveryPlan, snapline.Snapshot, error) {
	p := snapline.RecoveryPlan{Group: r.group.Name, Lost: slices.Sorted(maps.Keys(r.gone)), Snapshot: s.ID, TakenAt: s.TakenAt}
	p.LossMS = float64(c.Clock.Wall().Sub(s.TakenAt).Microseconds()) / 1000
	q := c.placementRequest(r, s)
	place, reasons := placement.Find(q)
	p.Place, p.Reasons = place, reasons
	if reasons != nil {
		return p, s, errNoRoom{p}
	}
	if c.askNear(ctx, &q, s) {
		nearest(&p, q)
	}
	return p, s, nil
}

// placementRequest is what the hosts have said of themselves.
func (c *Coordinator) placementRequest(r recovery, s snapline.Snapshot) placement.Request {
	q := placement.Request{Apart: slices.Concat(r.group.AntiAffinity, clashes(s))}
	vms := map[snapline.MemberName]snapline.VMInfo{}
	for _, m := range s.Members {
		vms[m.Name] = m.VM
		at := m.Host
		if now := r.group.Member(m.Name); now != nil {
			at = now.Host
		}
		q.Members = append(q.Members, placement.Member{Name: m.Name, RAMBytes: m.VM.RAMBytes, VCPUs: m.VM.VCPUs, At: at})
	}
	busy := c.busyCores(r.group.Name)
	for _, h := range c.roster.list() {
		c.fate.Lock()
		drained, not := c.drained[h.Name] != nil, c.takenBy(s, h.Name)
		c.fate.Unlock()
		if h.Agent != "online" || drained || r.gone[h.Name] {
			continue
		}
		host := placement.Host{Name: h.Name, MemoryBytes: h.AvailableBytes, Cores: h.Cores, Busy: busy[h.Name], Not: not}
		for _, m := range r.group.Members {
			if m.Host == h.Name { // it is stopped first, and gives back what it has
				host.MemoryBytes += vms[m.Name].RAMBytes
			}
		}
		q.Hosts = append(q.Hosts, host)
	}
	return q
}

// busyCores counts the virtual processors that other groups have on each host,
// as far as their last snapshots tell.
func (c *Coordinator) busyCores(but snapline.GroupName) map[snapline.HostName]int {
	busy := map[snapline.HostName]int{}
	all, err := c.Snapshots(c.ctx, "")
	if err != nil {
		return busy // a plan without it is as valid
	}
	last := map[snapline.GroupName]snapline.Snapshot{}
	for _, s := range all {
		last[s.Group.Name] = s
	}
	c.fate.Lock()
	defer c.fate.Unlock()
	for g, s := range last {
		for _, m := range s.Members {
			if h, placed := c.groups[g].Placement[m.Name]; placed && g != but {
				busy[h] += m.VM.VCPUs
			}
		}
	}
	return busy
}

func describePlace(p snapline.RecoveryPlan) string {
	text := ""
	for _, m := range slices.Sorted(maps.Keys(p.Place)) {
		text += fmt.Sprintf(", %s to %s", m, p.Place[m])
	}
	return text[min(len(text), 2):]
}

func lostReasons(hosts []snapline.HostName) (all []snapline.Reason) {
	for _, h := range hosts {
		all = append(all, snapline.Reason{Host: h, Text: "takes no part: it is lost, or was given back"})
	}
	return all
}
