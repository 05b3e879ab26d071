package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
)

// maxRate is how much two clocks' rates may differ (docs/PROTOCOL.md).
const maxRate = 0.01

// Doctor has every agent examine its host. With a group it looks at its members
// and at the paths between them too.
func (c *Coordinator) Doctor(ctx context.Context, g snapline.GroupName) ([]snapline.Finding, error) {
	if g != "" {
		return c.examineGroup(ctx, g)
	}
	hosts := c.roster.list()
	if len(hosts) == 0 {
		return []snapline.Finding{{Check: "agent", State: snapline.FindingWarning, Text: "no agent has joined this coordinator yet", Hint: "start one on each host: snapline agent --name … --join …"}}, nil
	}
	found := make([][]snapline.Finding, len(hosts))
	var all errgroup.Group
	for i, h := range hosts {
		all.Go(func() error { found[i] = c.examineHost(ctx, h); return nil })
	}
	_ = all.Wait() // what cannot be asked is a finding
	var out []snapline.Finding
	for i, some := range found {
		for _, f := range some {
			f.Host = hosts[i].Name
			out = append(out, f)
		}
	}
	return out, nil
}

func (c *Coordinator) examineHost(ctx context.Context, h snapline.HostStatus) []snapline.Finding {
	offline := snapline.Finding{Check: "agent", State: snapline.FindingProblem, Hint: "start the agent on that host, and see its log"}
	if !c.roster.online(h.Name) {
		offline.Text = "the agent has not been heard of since " + h.LastSeen.UTC().Format(time.RFC3339)
		return []snapline.Finding{offline}
	}
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	first, err := c.readClock(ctx, h.Name)
	if err != nil {
		offline.Text = fmt.Sprintf("the agent does not answer: %v", err)
		return []snapline.Finding{offline}
	}
	f, err := c.question(ctx, h.Name, inspection{Doctor: &examination{}})
	if err != nil {
		offline.Text = fmt.Sprintf("the agent did not answer while it examined its host: %v", err)
		return []snapline.Finding{offline}
	}
	found := append([]snapline.Finding{{Check: "agent", State: snapline.FindingOK, Text: "online, " + h.Version}}, f.Doctor...)
	return append(found, c.rate(ctx, h.Name, first))
}

// reading is what a host's clock showed at some time between two of ours.
type reading struct{ before, theirs, after snapline.Instant }

func (c *Coordinator) readClock(ctx context.Context, h snapline.HostName) (reading, error) {
	r := reading{before: c.Clock.Now()}
	f, err := c.question(ctx, h, inspection{Doctor: &examination{ClockOnly: true}})
	r.theirs, r.after = f.Now, c.Clock.Now()
	return r, err
}

// rate compares the host's clock with ours. What it can say is as exact as the
// answers are quick.
func (c *Coordinator) rate(ctx context.Context, h snapline.HostName, first reading) snapline.Finding {
	f := snapline.Finding{Check: "clock-rate", State: snapline.FindingProblem}
	select {
	case <-time.After(rateTime - c.Clock.Now().Sub(first.after)):
	case <-ctx.Done():
	}
	second, err := c.readClock(ctx, h)
	if err != nil {
		f.Text = fmt.Sprintf("the agent does not answer any more: %v", err)
		return f
	}
	ours := second.before.Sub(first.before).Seconds()
	off := (second.theirs.Sub(first.theirs).Seconds() - ours) / ours
	within := (second.after.Sub(second.before) + first.after.Sub(first.before)).Seconds() / ours
	f.Text = fmt.Sprintf("%+.2f %% off the coordinator's, to within %.2f %%", off*100, within*100)
	switch {
	case math.Abs(off)-within > maxRate:
		f.Hint = "deadlines hold for rates within 1 % of each other: see what steers the clocks of this host and of the coordinator's"
	case within > maxRate:
		f.State, f.Hint = snapline.FindingWarning, "the answers took too long to tell: is the network or the host busy?"
	default:
		f.State = snapline.FindingOK
	}
	return f
}

// question asks a host's agent something that has one answer.
func (c *Coordinator) question(ctx context.Context, h snapline.HostName, q inspection) (findings, error) {
	var f findings
	b, err := json.Marshal(q)
	if err != nil {
		return f, err
	}
	answer, err := c.Bus.Ask(ctx, snapline.ToAgent(h), b)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(answer, &f); err != nil {
		return f, fmt.Errorf("answer of %s: %w", h, err)
	}
	if q.Path != nil && f.Path == nil || q.Doctor != nil && f.Now == 0 {
		return f, fmt.Errorf("the agent of %s is of a version that has no doctor", h)
	}
	return f, nil
}
