package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/placement"
)

// recover brings the group back if a host is lost. It returns how long to wait
// before it is tried again, 0 when there is nothing to recover.
func (k *keeper) recover(ctx context.Context, attempt *int) time.Duration {
	r, again := k.decide(ctx)
	if r == nil {
		if again == 0 {
			*attempt = 0
		}
		return again
	}
	began := time.Now()
	for ctx.Err() == nil {
		plan, s, err := k.c.plan(ctx, *r)
		if room := (errNoRoom{}); errors.As(err, &room) {
			k.wait(snapline.ProtectionNoRoom, snapline.EventNoRoom, fmt.Sprint(plan.Lost), fmt.Sprintf("group %s waits for room: %s", k.group, plan.Reasons[0].Text), plan.Reasons)
			return k.c.pace.look
		}
		if err == nil {
			k.wait(snapline.ProtectionRecovering, snapline.EventRecovering, fmt.Sprint(s.ID, plan.Place), fmt.Sprintf("group %s is being restored from %s, which is %v old: %s",
				k.group, s.ID, (time.Duration(plan.LossMS)*time.Millisecond).Round(time.Second), describePlace(plan)), append(lostReasons(plan.Lost), r.missing...))
			err = k.restore(ctx, s, plan.Place, absent{Hosts: plan.Lost, Withdrawn: true})
		}
		if err == nil {
			*attempt = 0
			k.recovered(s, plan, time.Since(began))
			return 0
		}
		if ctx.Err() != nil {
			break
		}
		var e *snapline.Error
		if errors.As(err, &e) && e.Code == snapline.CodeDamaged && s.ID != "" {
			r.bad[s.ID] = true // an older one is better than none
			continue
		}
		if errors.As(err, &e) && e.Code == snapline.CodeBusy {
			return groupPoll
		}
		reasons := []snapline.Reason{{Text: err.Error()}}
		if e != nil {
			reasons = append([]snapline.Reason{{Text: e.Message, Hint: e.Hint}}, e.Reasons...)
		}
		k.wait(snapline.ProtectionRecovering, snapline.EventNotRecovered, fmt.Sprint(reasons), fmt.Sprintf("group %s could not be restored yet, it is tried again", k.group), reasons)
		pause := min(k.c.pace.longest, k.c.pace.retry<<min(*attempt, 10))
		*attempt++
		return pause
	}
	return 0
}

// restore runs the restore to its end.
func (k *keeper) restore(ctx context.Context, s snapline.Snapshot, place placement.Plan, without absent) error {
	op, err := k.c.restore(s, place, without, false)
	if err == nil {
		op, err = k.c.outcome(ctx, op.ID)
	}
	if err == nil && op.Error != nil {
		err = op.Error
	}
	return err
}

func (k *keeper) recovered(s snapline.Snapshot, plan snapline.RecoveryPlan, took time.Duration) {
	k.c.fate.Lock()
	k.rec.Recovery, k.unsaved = nil, true
	k.waits, k.why = "", nil
	// The group is as old as its snapshot was when it was taken. If the last take
	// failed, the next one shows whether the protection works again.
	k.next = time.Now().Add(k.rec.Request.Every())
	if k.failure != nil {
		k.next, k.fails = time.Now().Add(k.c.Quarantine), 0
	}
	k.last = time.Now()
	k.c.fate.Unlock()
	clear(k.said)
	k.c.events.add(snapline.Event{Kind: snapline.EventRecovered, Group: k.group, Snapshot: s.ID,
		Text: fmt.Sprintf("group %s runs again, %.1f s after the decision: %s", k.group, took.Seconds(), describePlace(plan))})
}

// wait notes what the recovery is doing or waiting for. It says so once, and
// again when key differs: a recovery that waits all night must not fill the log.
func (k *keeper) wait(state snapline.ProtectionState, kind snapline.EventKind, key, text string, why []snapline.Reason) {
	k.c.fate.Lock()
	k.waits, k.why = state, why
	k.c.fate.Unlock()
	if k.said[kind] != key {
		k.said[kind] = key
		k.c.events.add(snapline.Event{Kind: kind, Group: k.group, Text: text, Reasons: why})
	}
}

// decide finds out whether the group has to be brought back, and fixes that
// before anything is done. Without a recovery it returns when to look again, 0
// when all is well.
func (k *keeper) decide(ctx context.Context) (*recovery, time.Duration) {
	if k.c.restoringNow(k.group) {
		return nil, groupPoll // somebody brings it back already
	}
	if k.returned(ctx) && k.readmit() {
		k.c.events.add(snapline.Event{Kind: snapline.EventRecovered, Group: k.group, Text: fmt.Sprintf("all members of %s run, on hosts that are there", k.group)})
	}
	k.c.fate.Lock()
	rec := k.c.groups[k.group]
	r := &recovery{group: rec.placed(), gone: map[snapline.HostName]bool{}, bad: map[snapline.SnapshotID]bool{}}
	var blocked []snapline.Reason
	for _, m := range r.group.Members {
		if !k.c.roster.out(m.Host) {
			continue
		}
		r.gone[m.Host] = true
		if k.rec.Fenced[m.Name] != m.Host {
			blocked = append(blocked, snapline.Reason{Member: m.Name, Host: m.Host, Text: "may still be running there: its network does not close by itself",
				Hint: fmt.Sprintf("when that host is off: snapline recover %s --dead %s", k.group, m.Host)})
		}
	}
	if len(blocked) > 0 {
		k.c.fate.Unlock()
		k.wait(snapline.ProtectionBlocked, snapline.EventNotRecovered, fmt.Sprint(blocked), fmt.Sprintf("group %s cannot be brought back without a person: %s", k.group, blocked[0]), blocked)
		return nil, k.c.pace.look
	}
	pending := k.rec.Recovery
	if pending == nil && len(r.gone) == 0 {
		k.c.fate.Unlock()
		dead := k.missing(ctx)
		k.c.fate.Lock()
		r.missing = dead
	}
	if pending == nil && len(r.gone) == 0 && r.missing == nil {
		if k.waits != "" {
			k.waits, k.why = "", nil // it was blocked, and the host is back
			clear(k.said)
		}
		k.c.fate.Unlock()
		return nil, 0
	}
	k.c.fate.Unlock()
	switch ok, err := k.withdraw(ctx, r.gone); {
	case err != nil:
		return nil, k.c.pace.retry // what is not written must not be done
	case !ok:
		return nil, groupPoll // a host was heard of in the last moment
	}
	if pending != nil {
		for _, h := range pending.Released {
			r.gone[h] = true
		}
	}
	return r, 0
}

// returned reports whether a recovery that is pending has become needless: the
// hosts that were lost are back, and every member runs where it should. While
// it was cut off a member talked to nobody, and nobody has been restored.
func (k *keeper) returned(ctx context.Context) bool {
	k.c.fate.Lock()
	pending := k.rec.Recovery
	group := k.c.groups[k.group].placed()
	k.c.fate.Unlock()
	if pending == nil || len(pending.Released) > 0 {
		return false
	}
	for _, m := range group.Members {
		if _, online := k.c.roster.has(m.Host); !online {
			return false
		}
	}
	for _, m := range group.Members {
		if k.c.inspect(ctx, k.group, m).VM != "running" {
			return false
		}
	}
	return true
}

// readmit gives leases again to hosts that were lost, and reports whether it has:
// not when a restore goes on without them.
func (k *keeper) readmit() bool {
	k.c.fate.Lock()
	defer k.c.fate.Unlock()
	if k.retired || k.c.restoringNow(k.group) {
		return false
	}
	k.rec.Recovery, k.unsaved, k.waits, k.why = nil, true, "", nil
	clear(k.said)
	return true
}

// Recover starts to bring a group back from its last snapshot, on the hosts
// that remain.
func (c *Coordinator) Recover(ctx context.Context, r snapline.RecoverRequest) (snapline.Operation, error) {
	plan, s, gone, err := c.planByHand(ctx, r)
	if err != nil {
		return snapline.Operation{}, err
	}
	if plan.Reasons != nil {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("group %s cannot be brought back now; nothing was touched", r.Group), Reasons: plan.Reasons}
	}
	if len(gone) == 0 && c.allRun(ctx, r.Group) {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("there is nothing to recover: all members of %s run", r.Group),
			Hint: fmt.Sprintf("to go back to the last snapshot: snapline restore %s", s.ID)}
	}
	c.fate.Lock()
	k := c.keepers[r.Group]
	c.fate.Unlock()
	if k != nil && len(gone) > 0 {
		if ok, err := k.withdraw(ctx, gone); err != nil {
			return snapline.Operation{}, err
		} else if !ok {
			return snapline.Operation{}, &snapline.Error{Code: snapline.CodeRefused, Message: "a host that was lost is back", Hint: "see how it is now: snapline status " + string(r.Group)}
		}
	}
	return c.restore(s, plan.Place, absent{Hosts: plan.Lost, Withdrawn: k != nil, Dead: r.Dead}, false)
}

// PlanRecovery says what Recover would do now, and changes nothing.
func (c *Coordinator) PlanRecovery(ctx context.Context, r snapline.RecoverRequest) (snapline.RecoveryPlan, error) {
	plan, _, _, err := c.planByHand(ctx, r)
	return plan, err
}

// planByHand is a plan for a person, who may know more than we do.
func (c *Coordinator) planByHand(ctx context.Context, r snapline.RecoverRequest) (snapline.RecoveryPlan, snapline.Snapshot, map[snapline.HostName]bool, error) {
	rec, _, err := c.group(ctx, r.Group)
	if err != nil {
		return snapline.RecoveryPlan{}, snapline.Snapshot{}, nil, err
	}
	q := recovery{group: rec.placed(), gone: map[snapline.HostName]bool{}, bad: map[snapline.SnapshotID]bool{}}
	var alive []snapline.Reason
	for _, h := range r.Dead {
		if c.roster.online(h) {
			alive = append(alive, snapline.Reason{Host: h, Text: "its agent is online: it is not dead"})
		}
	}
	if alive != nil {
		return snapline.RecoveryPlan{}, snapline.Snapshot{}, nil, &snapline.Error{Code: snapline.CodeInvalid, Message: "a host that is said to be dead is not", Reasons: alive, Hint: "snapline drain HOST moves its members"}
	}
	var unsure []snapline.Reason
	for _, m := range q.group.Members {
		if c.roster.online(m.Host) {
			continue
		}
		q.gone[m.Host] = true
		if !slices.Contains(r.Dead, m.Host) && !c.silenced(r.Group, m) {
			unsure = append(unsure, snapline.Reason{Member: m.Name, Host: m.Host, Text: "may still be running there: the host cannot be asked, and its network does not close by itself",
				Hint: fmt.Sprintf("start the agent there, or, when that host is off: --dead %s", m.Host)})
		}
	}
	for _, s := range c.mayRun(r.Group) {
		if slices.Contains(r.Dead, s.Host) {
			q.gone[s.Host] = true
		} else {
			unsure = append(unsure, snapline.Reason{Member: s.Member, Host: s.Host, Text: s.String(), Hint: deadHint(r.Group, s.Host)})
		}
	}
	plan, s, err := c.plan(ctx, q)
	if room := (errNoRoom{}); errors.As(err, &room) {
		err = nil
	}
	for m, h := range rec.Former {
		if s.Group.Member(m) != nil && !c.roster.online(h) && !slices.Contains(r.Dead, h) {
			unsure = append(unsure, snapline.Reason{Member: m, Host: h, Text: formerText, Hint: deadHint(r.Group, h)})
		}
	}
	plan.Reasons = append(plan.Reasons, unsure...)
	slices.SortStableFunc(plan.Reasons, func(a, b snapline.Reason) int { return cmp.Compare(a.Member, b.Member) })
	return plan, s, q.gone, err
}

// silenced reports whether the member, whose host is not online, has surely
// fallen silent.
func (c *Coordinator) silenced(g snapline.GroupName, m snapline.Member) bool {
	c.fate.Lock()
	defer c.fate.Unlock()
	k := c.keepers[g]
	return k != nil && k.rec.Fenced[m.Name] == m.Host && c.roster.out(m.Host)
}

// withdraw fixes, durably, that these hosts get no lease for the group any more
// until its recovery has ended. released are those whose members are ended, too.
// It returns false when one of the others is heard of again meanwhile.
func (k *keeper) withdraw(ctx context.Context, gone map[snapline.HostName]bool, released ...snapline.HostName) (bool, error) {
	k.c.fate.Lock()
	if k.retired {
		k.c.fate.Unlock()
		return false, errRetired
	}
	next := recoveryRecord{Since: k.c.Clock.Wall()}
	if k.rec.Recovery != nil {
		next = *k.rec.Recovery
		next.Gone, next.Released = slices.Clone(next.Gone), slices.Clone(next.Released)
	}
	for h := range gone {
		if !k.c.roster.out(h) && !slices.Contains(next.Gone, h) && !slices.Contains(released, h) {
			k.c.fate.Unlock()
			return false, nil
		}
		if !slices.Contains(next.Gone, h) {
			next.Gone = append(next.Gone, h)
		}
	}
	for _, h := range released {
		if !slices.Contains(next.Released, h) {
			next.Released = append(next.Released, h)
		}
	}
	slices.Sort(next.Gone)
	k.rec.Recovery, k.unsaved = &next, true
	k.c.fate.Unlock()
	return true, k.save(ctx)
}

func (c *Coordinator) allRun(ctx context.Context, g snapline.GroupName) bool {
	st, err := c.Status(ctx, g)
	return err == nil && !slices.ContainsFunc(st.Members, func(m snapline.MemberStatus) bool { return m.VM != "running" })
}
