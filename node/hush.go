package node

import (
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// hushing is a group that is kept silent from before a round's cut until it has been
// restored from there, or will not be.
type hushing struct {
	group snapline.GroupName
	until snapline.Instant // at the most, on our clock
	round snapline.Round   // from when its take has begun

	// Under fate.
	began   bool              // members were told to be silent
	reasons []snapline.Reason // why none was
}

// hushed reports whether somebody keeps the group silent.
func (c *Coordinator) hushed(g snapline.GroupName) bool {
	c.fate.Lock()
	defer c.fate.Unlock()
	return c.hushes[g] != nil
}

// keepHush has agents renew the silence of the members from now on.
func (c *Coordinator) keepHush(h *hushing, n snapline.Round) {
	c.fate.Lock()
	defer c.fate.Unlock()
	h.round = n
	c.hushes[h.group] = h
}

// hushBegins notes that members are told to be silent, or why none is.
func (c *Coordinator) hushBegins(h *hushing, reasons []snapline.Reason) {
	c.fate.Lock()
	defer c.fate.Unlock()
	h.began, h.reasons = reasons == nil, reasons
}

// hushBegan reports whether members were told to be silent, and why not.
func (c *Coordinator) hushBegan(h *hushing) (bool, []snapline.Reason) {
	c.fate.Lock()
	defer c.fate.Unlock()
	return h.began, h.reasons
}

// endHush lets agents end it with their next hello.
func (c *Coordinator) endHush(h *hushing) {
	c.fate.Lock()
	defer c.fate.Unlock()
	if c.hushes[h.group] == h {
		delete(c.hushes, h.group)
	}
}

// hear ends a silence at once: the group was not restored, and its members run on.
func (c *Coordinator) hear(h *hushing) {
	c.endHush(h)
	if began, _ := c.hushBegan(h); !began {
		return
	}
	c.fate.Lock()
	placed := c.groups[h.group].placed()
	c.fate.Unlock()
	for _, m := range placed.Members {
		c.send(protocol.Abort{Ref: protocol.Ref{Group: h.group, Round: h.round, Member: m.Name}, Why: "the group goes on where it is"}, m.Host)
	}
}

// hushFor fills in whose silence goes on at the host that says hello; fate is held.
func (c *Coordinator) hushFor(h hello, w *welcome) {
	for g, s := range c.hushes {
		left := s.until.Sub(c.Clock.Now())
		if left <= 0 {
			continue
		}
		for _, m := range c.groups[g].placed().Members {
			if m.Host == h.Host {
				w.Hush = append(w.Hush, hushed{memberRef{g, m.Name}, s.round, left})
			}
		}
	}
}

// quiet is what is known of the silence of a group that has been restored.
type quiet struct {
	// lasted is the longest silence of a member, until its machine was stopped.
	lasted time.Duration
	// heard is the longest time that a machine ran on after its silence, and was heard.
	heard time.Duration
}

// quietOf puts together what the hosts have said; false if some member was not
// silent from before that snapshot's cut.
func quietOf(s snapline.Snapshot, silent map[snapline.MemberName]protocol.Silence) (q quiet, all bool) {
	_, n, err := s.ID.Split()
	if err != nil {
		return q, false
	}
	for _, m := range s.Members {
		one, is := silent[m.Name]
		if !is || one.Round != n {
			return q, false
		}
		q.lasted = max(q.lasted, time.Duration(one.ForNS))
		q.heard = max(q.heard, time.Duration(one.HeardNS))
	}
	return q, true
}

// describeQuiet tells what a restore of such a group has taken back: lost is nil if
// it is nothing.
func describeQuiet(q quiet, silent time.Duration, lost *snapline.LostInterval) string {
	if lost == nil {
		return fmt.Sprintf("the group was silent for %.1f s, from before the cut on: nothing that others have heard from it is taken back", silent.Seconds())
	}
	return fmt.Sprintf("the group was silent for %.1f s, but not until it was stopped; %s", q.lasted.Seconds(), describeLost(lost))
}
