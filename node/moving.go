package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// moveAway snapshots a group and restores it without the host, and tries again
// until ctx ends. It returns the last error then.
func (c *Coordinator) moveAway(ctx context.Context, g snapline.GroupName, h snapline.HostName, op *operation) (snapline.MovedGroup, error) {
	last := errors.New("there was no time for it")
	move := &moving{c: c, group: g, host: h, op: op}
	for ctx.Err() == nil {
		moved, err := move.try(ctx)
		if err == nil {
			return moved, nil
		}
		if ctx.Err() == nil {
			if err.Error() != last.Error() {
				op.waits(fmt.Sprintf("for group %s: %v", g, err))
			}
			last = err
		}
		pause := c.pace.busy
		if move.vain > 0 {
			pause = max(pause, min(c.pace.longest, c.pace.retry<<min(move.vain-1, 10)))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return snapline.MovedGroup{}, last
}

// moving is one group on its way from a host.
type moving struct {
	c     *Coordinator
	group snapline.GroupName
	host  snapline.HostName
	op    *operation
	// vain counts how often the group was silent for nothing: it is to be heard in
	// between.
	vain int
	// taken is the snapshot that it is restored from; stopped, that a restore has
	// failed and its members do not run any more: there is nothing else to restore.
	taken   snapline.Snapshot
	stopped bool
	hush    *hushing
}

// try moves the group once. It is silent from before the cut until it runs
// elsewhere, so that nothing is taken back that others have heard from it; or until
// it turns out that it stays.
func (m *moving) try(ctx context.Context) (snapline.MovedGroup, error) {
	moved := snapline.MovedGroup{Group: m.group}
	rec, _, err := m.c.group(ctx, m.group)
	if err != nil {
		return moved, err
	}
	away := recovery{group: rec.placed(), gone: map[snapline.HostName]bool{m.host: true}}
	if !slices.ContainsFunc(away.group.Members, func(one snapline.Member) bool { return one.Host == m.host }) {
		return m.c.movedAnyhow(away.group), nil
	}
	if m.stopped = m.stopped && !m.c.allRun(ctx, m.group); !m.stopped {
		if err := m.possible(ctx, away); err != nil {
			return moved, err
		}
		if err := m.take(ctx); err != nil {
			m.c.endHush(m.hush) // the round has ended it where it had begun
			return moved, m.inVain(err)
		}
	}
	switch err = m.restore(ctx, away, &moved); {
	case err == nil:
		m.c.endHush(m.hush)
	case m.stopped:
		m.c.endHush(m.hush) // nobody is left to be heard
		return moved, err
	default:
		m.c.hear(m.hush)
		return moved, m.inVain(err)
	}
	return moved, nil
}

// inVain counts a silence that has come to nothing.
func (m *moving) inVain(err error) error {
	if began, _ := m.c.hushBegan(m.hush); began {
		m.vain++
	}
	return err
}

// possible says why the group could not go elsewhere now, before it is silenced for
// it. How large its machines are its last snapshot tells.
func (m *moving) possible(ctx context.Context, away recovery) error {
	all, err := m.c.Snapshots(ctx, m.group)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		m.op.say(snapline.Progress{Phase: "snapshot", Text: string(m.group) + ", which has none"})
		op, err := m.c.take(ctx, m.request(), true, nil)
		if err == nil {
			op, err = m.c.finished(ctx, op.ID)
		}
		if err != nil {
			return err
		}
		first, err := m.c.Snapshot(ctx, op.Snapshot)
		if err != nil {
			return err
		}
		all = append(all, first)
	}
	_, _, err = m.c.planFor(ctx, away, all[len(all)-1])
	return err
}

func (m *moving) request() snapline.TakeRequest {
	return snapline.TakeRequest{Group: m.group, Note: "drain of " + string(m.host)}
}

// take snapshots the silenced group. Without a snapshot it is to be heard.
func (m *moving) take(ctx context.Context) error {
	m.op.say(snapline.Progress{Phase: "snapshot", Text: string(m.group)})
	m.hush = &hushing{group: m.group, until: m.c.Clock.Now()}
	if deadline, ok := ctx.Deadline(); ok {
		m.hush.until = m.hush.until.Add(time.Until(deadline))
	}
	op, err := m.c.take(ctx, m.request(), true, m.hush)
	if err == nil {
		op, err = m.c.finished(ctx, op.ID)
	}
	if err != nil {
		return err
	}
	if _, reasons := m.c.hushBegan(m.hush); reasons != nil {
		m.op.say(snapline.Progress{Phase: "speaks", Text: fmt.Sprintf("%s could not be silenced: %s", m.group, reasons[0])})
	}
	if m.taken, err = m.c.Snapshot(ctx, op.Snapshot); err != nil {
		m.c.hear(m.hush)
	}
	return err
}

func (m *moving) restore(ctx context.Context, away recovery, moved *snapline.MovedGroup) error {
	plan, s, err := m.c.planFor(ctx, away, m.taken)
	if err != nil {
		return err
	}
	m.op.say(snapline.Progress{Phase: "restore", Text: fmt.Sprintf("%s: %s", s.ID, describePlace(plan))})
	op, err := m.c.restore(s, plan.Place, absent{}, false)
	if err != nil {
		return err
	}
	began := m.c.find(op.ID)
	// It is not left alone in the middle, whatever the deadline says.
	op, err = m.c.finished(context.WithoutCancel(ctx), op.ID)
	if err != nil {
		// A protected group is recovered, with the drained host left out.
		m.stopped = began.restorePhase() != protocol.RestorePlan && !m.c.isProtected(m.group)
		return err
	}
	moved.Snapshot, moved.Place = s.ID, plan.Place
	moved.SilentMS, moved.TakenBackMS = op.Restore.SilentMS, op.Restore.TakenBackMS
	if _, reasons := m.c.hushBegan(m.hush); reasons != nil {
		moved.Reasons = append([]snapline.Reason{{Text: "the group could not be silenced"}}, reasons...)
	}
	return nil
}

// movedAnyhow is a group that has no member on the host any more, because its recovery
// was faster: what that has cost its event says.
func (c *Coordinator) movedAnyhow(g snapline.Group) snapline.MovedGroup {
	moved := snapline.MovedGroup{Group: g.Name, Place: map[snapline.MemberName]snapline.HostName{}}
	for _, m := range g.Members {
		moved.Place[m.Name] = m.Host
	}
	all, _ := c.events.after(0)
	for _, e := range all {
		if e.Group != g.Name || e.Kind != snapline.EventRestored {
			continue
		}
		moved.Snapshot, moved.TakenBackMS = e.Snapshot, 0
		if e.Lost != nil {
			moved.TakenBackMS = float64(e.Lost.To.Sub(e.Lost.From).Microseconds()) / 1000
		}
	}
	moved.Reasons = []snapline.Reason{{Text: "its recovery was faster"}}
	return moved
}

// describeMoved tells of a group what its move has cost.
func describeMoved(m snapline.MovedGroup) string {
	if m.TakenBackMS == 0 && m.SilentMS == 0 {
		return ""
	}
	if m.TakenBackMS == 0 {
		return fmt.Sprintf("; group %s was silent for %.1f s of it, and nothing is taken back that others have heard from it", m.Group, m.SilentMS/1000)
	}
	text := fmt.Sprintf("; what group %s did for %.1f s is taken back", m.Group, m.TakenBackMS/1000)
	if len(m.Reasons) > 0 {
		text += fmt.Sprintf(": %s", m.Reasons[0])
	}
	return text
}
