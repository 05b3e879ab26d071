package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
)

const (
	groupPrefix = "group."
	roundPrefix = "round."
)

// groupRecord is what the coordinator keeps of a group.
type groupRecord struct {
	Group snapline.Group `json:"group"`
	// Placement says where each member is now; a restore moves them.
	Placement map[snapline.MemberName]snapline.HostName `json:"placement"`
	// Former are machines that are no members any more, and where they run as far as
	// is known.
	Former map[snapline.MemberName]snapline.HostName `json:"former,omitempty"`
}

// put notes that a machine runs on a host, be it a member or not any more.
func (r *groupRecord) put(m snapline.MemberName, h snapline.HostName) {
	delete(r.Former, m)
	if r.Group.Member(m) != nil {
		r.Placement[m] = h
		return
	}
	delete(r.Placement, m)
	if r.Former == nil {
		r.Former = map[snapline.MemberName]snapline.HostName{}
	}
	r.Former[m] = h
}

// placed returns the group with each member's host as it is now.
func (r groupRecord) placed() snapline.Group {
	g := r.Group
	g.Members = append([]snapline.Member(nil), g.Members...)
	for i, m := range g.Members {
		if h, ok := r.Placement[m.Name]; ok {
			g.Members[i].Host = h
		}
	}
	return g
}

func (c *Coordinator) group(ctx context.Context, g snapline.GroupName) (groupRecord, uint64, error) {
	var rec groupRecord
	if err := snapline.CheckName("group", string(g)); err != nil {
		return rec, 0, &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error()}
	}
	b, rev, err := c.Store.Get(ctx, groupPrefix+string(g))
	if errors.Is(err, snapline.ErrNotFound) {
		return rec, 0, &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no group %q", g), Hint: "snapline groups lists those that there are; snapline apply -f FILE declares one"}
	}
	if err != nil {
		return rec, 0, fmt.Errorf("read group %s: %w", g, err)
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, 0, fmt.Errorf("read group %s: %w", g, err)
	}
	return rec, rev, nil
}

func (c *Coordinator) putGroup(ctx context.Context, rec groupRecord, revision uint64) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if _, err := c.Store.Swap(ctx, groupPrefix+string(rec.Group.Name), b, revision); err != nil {
		return fmt.Errorf("write group %s: %w", rec.Group.Name, err)
	}
	c.fate.Lock()
	defer c.fate.Unlock()
	c.groups[rec.Group.Name] = rec
	if k := c.keepers[rec.Group.Name]; k != nil {
		k.nudge()
	}
	return nil
}

// loadGroups reads what was declared to earlier coordinators.
func (c *Coordinator) loadGroups(ctx context.Context) error {
	keys, err := c.Store.Keys(ctx, groupPrefix)
	if err != nil {
		return fmt.Errorf("read groups: %w", err)
	}
	for _, k := range keys {
		rec, _, err := c.group(ctx, snapline.GroupName(k[len(groupPrefix):]))
		if err != nil {
			return err
		}
		c.fate.Lock()
		c.groups[rec.Group.Name] = rec
		c.fate.Unlock()
	}
	return nil
}

// Apply declares a group or replaces its declaration. A member stays where a
// restore has put it unless its declared host has changed. CodeRefused when that
// were to move a member of a protected group.
func (c *Coordinator) Apply(ctx context.Context, g snapline.Group) (snapline.GroupStatus, error) {
	if reasons := g.Problems(); len(reasons) > 0 {
		return snapline.GroupStatus{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("group %q cannot be applied", g.Name), Reasons: reasons}
	}
	release, err := c.claim(g.Name)
	if err != nil {
		return snapline.GroupStatus{}, err
	}
	defer release()
	next := groupRecord{Group: g, Placement: map[snapline.MemberName]snapline.HostName{}}
	old, rev, err := c.group(ctx, g.Name)
	var e *snapline.Error
	if err != nil && (!errors.As(err, &e) || e.Code != snapline.CodeNotFound) {
		return snapline.GroupStatus{}, err
	}
	for m, h := range old.Former {
		next.put(m, h)
	}
	for m, h := range old.Placement {
		next.put(m, h)
	}
	var moved []snapline.Reason
	for _, m := range g.Members {
		if was := old.Group.Member(m.Name); was != nil && was.Host == m.Host {
			continue
		}
		if at := next.Placement[m.Name]; at != "" && at != m.Host {
			moved = append(moved, snapline.Reason{Member: m.Name, Host: at, Text: "runs there, says the protection, not on " + string(m.Host)})
		}
		next.put(m.Name, m.Host)
	}
	if c.isProtected(g.Name) {
		if shared := c.sharedWith(next.placed()); shared != nil {
			return snapline.GroupStatus{}, errShared(g.Name, shared)
		}
	}
	if moved != nil && c.isProtected(g.Name) {
		return snapline.GroupStatus{}, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("group %s is protected: a group file does not move its members", g.Name), Reasons: moved,
			Hint: "snapline drain HOST and snapline restore --place do; or end the protection first: snapline unprotect " + string(g.Name)}
	}
	if err := c.putGroup(ctx, next, rev); err != nil {
		return snapline.GroupStatus{}, err
	}
	return c.status(ctx, next), nil
}

func (c *Coordinator) isProtected(g snapline.GroupName) bool {
	c.fate.Lock()
	defer c.fate.Unlock()
	return c.keepers[g] != nil
}

// Groups lists the declared groups, by name.
func (c *Coordinator) Groups(ctx context.Context) ([]snapline.GroupStatus, error) {
	keys, err := c.Store.Keys(ctx, groupPrefix)
	if err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	out := make([]snapline.GroupStatus, len(keys))
	var all errgroup.Group
	for i, k := range keys {
		all.Go(func() (err error) {
			out[i], err = c.Status(ctx, snapline.GroupName(k[len(groupPrefix):]))
			return err
		})
	}
	return out, all.Wait()
}

// Status asks the members' agents how they are.
func (c *Coordinator) Status(ctx context.Context, g snapline.GroupName) (snapline.GroupStatus, error) {
	rec, _, err := c.group(ctx, g)
	if err != nil {
		return snapline.GroupStatus{}, err
	}
	return c.status(ctx, rec), nil
}

func (c *Coordinator) status(ctx context.Context, rec groupRecord) snapline.GroupStatus {
	g := rec.placed()
	s := snapline.GroupStatus{Group: rec.Group, Members: make([]snapline.MemberStatus, len(g.Members))}
	if op := c.runningOn(g.Name); op != nil {
		s.Operation = op.state().ID
	}
	c.fate.Lock()
	if k := c.keepers[g.Name]; k != nil {
		s.Protection = k.status()
	}
	c.fate.Unlock()
	if all, err := c.Snapshots(ctx, g.Name); err == nil && len(all) > 0 {
		last := all[len(all)-1]
		s.Last, s.LastAt = last.ID, &last.TakenAt
	}
	var asking errgroup.Group
	for i, m := range g.Members {
		asking.Go(func() error { s.Members[i] = c.inspect(ctx, g.Name, m); return nil })
	}
	_ = asking.Wait() // what cannot be asked is a status
	return s
}

func (c *Coordinator) inspect(ctx context.Context, g snapline.GroupName, m snapline.Member) snapline.MemberStatus {
	unknown := snapline.MemberStatus{Name: m.Name, Host: m.Host, Agent: "offline", VM: "unknown"}
	if !c.roster.online(m.Host) {
		unknown.Text = fmt.Sprintf("no agent named %s has joined, or it has fallen silent", m.Host)
		return unknown
	}
	unknown.Agent = "online"
	question, err := json.Marshal(inspection{Group: g, Members: []snapline.Member{m}})
	if err != nil {
		return unknown
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	answer, err := c.Bus.Ask(ctx, snapline.ToAgent(m.Host), question)
	var f findings
	if err == nil {
		err = json.Unmarshal(answer, &f)
	}
	if err != nil || len(f.Members) != 1 {
		unknown.Text = fmt.Sprintf("the agent did not answer: %v", err)
		return unknown
	}
	s := f.Members[0]
	s.Name, s.Host, s.Agent = m.Name, m.Host, "online" // what the agent cannot know better
	return s
}

// Hosts lists every agent that this coordinator has heard of.
func (c *Coordinator) Hosts(context.Context) ([]snapline.HostStatus, error) {
	all := c.roster.list()
	c.fate.Lock()
	defer c.fate.Unlock()
	for i := range all {
		all[i].Drained = c.drained[all[i].Name] != nil
	}
	return all, nil
}

// lastRound returns the number of the group's last round, and its revision.
func (c *Coordinator) lastRound(ctx context.Context, g snapline.GroupName) (snapline.Round, uint64, error) {
	b, rev, err := c.Store.Get(ctx, roundPrefix+string(g))
	if errors.Is(err, snapline.ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read round of %s: %w", g, err)
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("read round of %s: %w", g, err)
	}
	return snapline.Round(n), rev, nil
}

// nextRound takes a number that no round of the group has ever had, also when
// the state was lost but the repository was not.
func (c *Coordinator) nextRound(ctx context.Context, g snapline.GroupName) (snapline.Round, error) {
	n, rev, err := c.lastRound(ctx, g)
	if err != nil {
		return 0, err
	}
	if rev == 0 {
		all, err := c.Snapshots(ctx, g)
		if err != nil {
			return 0, err
		}
		for _, s := range all {
			if _, r, err := s.ID.Split(); err == nil {
				n = max(n, r)
			}
		}
	}
	n++
	if _, err := c.Store.Swap(ctx, roundPrefix+string(g), []byte(strconv.FormatUint(uint64(n), 10)), rev); err != nil {
		return 0, fmt.Errorf("take round number for %s: %w", g, err)
	}
	return n, nil
}
