package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// Restore starts to bring a group back and returns at once.
func (c *Coordinator) Restore(ctx context.Context, r snapline.RestoreRequest) (snapline.Operation, error) {
	s, err := c.Snapshot(ctx, r.Snapshot)
	if err != nil {
		return snapline.Operation{}, err
	}
	if v := s.Verdict; v != nil && v.State == snapline.Inconsistent {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("snapshot %s is no consistent cut: %s", s.ID, v.Text), Hint: "restore another one"}
	}
	if err := replayable(s, r.ReplayChannel); err != nil {
		return snapline.Operation{}, err
	}
	place, err := placeAsAsked(s, r.Place)
	if err != nil {
		return snapline.Operation{}, err
	}
	return c.restore(s, place, absent{}, r.ReplayChannel != snapline.ReplayNothing)
}

// restore starts a restore, without those who are absent.
func (c *Coordinator) restore(s snapline.Snapshot, place map[snapline.MemberName]snapline.HostName, without absent, replay bool) (snapline.Operation, error) {
	id := snapline.OperationID(fmt.Sprintf("restore-%s-%s", s.ID, strings.ToLower(rand.Text()[:8])))
	op := newOperation(c.Clock, snapline.Operation{ID: id, Kind: kindRestore, Group: s.Group.Name, Snapshot: s.ID})
	release, err := c.begin(s.Group.Name, op)
	if err != nil {
		return snapline.Operation{}, err
	}
	if err := c.stillAbsent(s.Group.Name, without); err != nil {
		release()
		return snapline.Operation{}, err
	}
	op.end = release
	t := &restoring{c: c, op: op, snapshot: s, place: place, without: without, replay: replay, began: time.Now()}
	c.running.Go(t.run)
	return op.state(), nil
}

// placeAsAsked says where each member goes: where it ran, or where it was asked.
func placeAsAsked(s snapline.Snapshot, asked map[snapline.MemberName]snapline.HostName) (map[snapline.MemberName]snapline.HostName, error) {
	place := map[snapline.MemberName]snapline.HostName{}
	for _, m := range s.Members {
		place[m.Name] = m.Host
	}
	var reasons []snapline.Reason
	for m, h := range asked {
		if _, ok := place[m]; !ok {
			reasons = append(reasons, snapline.Reason{Member: m, Text: fmt.Sprintf("is not a member of %s", s.ID)})
		}
		if err := snapline.CheckName("host", string(h)); err != nil {
			reasons = append(reasons, snapline.Reason{Member: m, Text: err.Error()})
		}
		place[m] = h
	}
	if len(reasons) > 0 {
		return nil, &snapline.Error{Code: snapline.CodeInvalid, Message: "members cannot be placed like this", Reasons: reasons}
	}
	return place, nil
}

// restoring owns one restore's machine.
type restoring struct {
	c        *Coordinator
	op       *operation
	noted    bool                // in the store: what it is about to do
	resumed  bool                // a predecessor's: whoever resumes it keeps the note
	leased   bool                // the members are to run under a lease
	asked    []snapline.HostName // to stop what they have
	snapshot snapline.Snapshot
	place    map[snapline.MemberName]snapline.HostName
	without  absent
	replay   bool
	began    time.Time
	stopped  time.Time // when every machine of the old timeline had ended
	machine  *protocol.Restore
	done     bool
	// sent is what was known of the members' packets when the first was let run.
	sent *peerLog
}

// restorePhase is where a restore is, for Cancel.
func (o *operation) restorePhase() protocol.RestorePhase {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.said) - 1; i >= 0; i-- {
		if o.said[i].Phase != "" {
			return protocol.RestorePhase(o.said[i].Phase)
		}
	}
	return protocol.RestorePlan
}

func (t *restoring) run() {
	if problem := t.reachable(); problem != nil {
		t.end(protocol.RestoreDone{Problem: problem})
		return
	}
	lease := t.lease()
	t.leased, t.asked = lease > 0, t.stopHosts()
	begin := protocol.BeginRestore{Op: t.op.state().ID, Snapshot: t.snapshot, Place: t.place, Stop: t.asked, Home: t.homes(), Also: t.declaredNow(), Replay: t.replay,
		Addresses: addresses(t.snapshot), Quarantine: t.c.Quarantine, Coloured: t.c.restoredLately(t.snapshot.Group.Name), Lease: lease}
	t.machine = protocol.NewRestore(begin)
	l := t.op.loop
	l.step, l.effect = t.machine.Step, t.effect
	l.failed = func(protocol.Effect, error) protocol.Input { return nil } // effect returns no errors
	if t.c.Trace != nil {
		l.trace = func(at snapline.Instant, what any) { t.c.Trace(string(t.op.state().ID), at, what) }
	}
	l.note(l.clock.Now(), begin)
	l.post(protocol.Started{})
	l.run(t.c.ctx, func() bool { return t.done })
	if !t.done && !t.c.Term.shared { // the coordinator is ending; where there are several, the next one goes on
		e := protocol.RestoreDone{Problem: &snapline.Error{Code: snapline.CodeUnavailable, Message: "the coordinator was stopped during the restore", Hint: "restore again; it is safe to repeat"}}
		if t.noted {
			e.Left = slices.Collect(maps.Values(t.place))
		}
		t.end(e)
	}
}

// addresses are those of all members of the snapshot.
func addresses(s snapline.Snapshot) snapline.MemberAddresses {
	var a snapline.MemberAddresses
	for _, m := range s.Members {
		for _, n := range m.VM.NICs {
			if n.MAC != "" {
				a.MACs = append(a.MACs, n.MAC)
			}
		}
		if m.Evidence != nil {
			a.IPs = append(a.IPs, m.Evidence.Addresses...)
		}
	}
	return a
}

// lease is the one that the members are to run under; zero when the group is not
// protected.
func (t *restoring) lease() time.Duration {
	t.c.fate.Lock()
	defer t.c.fate.Unlock()
	if t.c.keepers[t.snapshot.Group.Name] == nil {
		return 0
	}
	return t.c.Lease
}

// stopHosts lists where an instance of a member may be living: where the
// members are, and every other host whose agent can be asked. Of those that are
// gone and cannot be asked, nobody waits.
func (t *restoring) stopHosts() []snapline.HostName {
	set := map[snapline.HostName]bool{}
	for _, h := range t.current() {
		set[h] = !t.without.has(h)
	}
	for _, h := range t.c.roster.list() {
		if h.Agent == "online" {
			set[h.Name] = true
		}
	}
	var out []snapline.HostName
	for h, is := range set {
		if is {
			out = append(out, h)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// current says where the group's members are now, as far as is known; nobody's
// place is when the group was not applied here: then only the agents can say.
func (t *restoring) current() map[snapline.MemberName]snapline.HostName {
	t.c.fate.Lock()
	defer t.c.fate.Unlock()
	return maps.Clone(t.c.groups[t.snapshot.Group.Name].Placement)
}

// former says where those of the snapshot's members are that are not of the group
// any more.
func (t *restoring) former() map[snapline.MemberName]snapline.HostName {
	t.c.fate.Lock()
	defer t.c.fate.Unlock()
	at := maps.Clone(t.c.groups[t.snapshot.Group.Name].Former)
	maps.DeleteFunc(at, func(m snapline.MemberName, _ snapline.HostName) bool { return t.snapshot.Group.Member(m) == nil })
	return at
}

// declaredNow are the snapshot's members whose declaration has changed since.
func (t *restoring) declaredNow() (changed []snapline.Member) {
	t.c.fate.Lock()
	defer t.c.fate.Unlock()
	for _, now := range t.c.groups[t.snapshot.Group.Name].Group.Members {
		then := t.snapshot.Group.Member(now.Name)
		if then != nil && then.QEMU != nil && now.QEMU != nil && *then.QEMU != *now.QEMU {
			changed = append(changed, now)
		}
	}
	return changed
}

// homes are the hosts where members are now, or may be.
func (t *restoring) homes() map[snapline.HostName][]snapline.MemberName {
	at := map[snapline.HostName][]snapline.MemberName{}
	for m, h := range t.current() {
		at[h] = append(at[h], m)
	}
	for m, h := range t.former() {
		at[h] = append(at[h], m)
	}
	t.c.fate.Lock()
	defer t.c.fate.Unlock()
	for _, s := range t.c.strays[t.snapshot.Group.Name] {
		at[s.Host] = append(at[s.Host], s.Member)
	}
	for _, members := range at {
		slices.Sort(members)
	}
	return at
}

// reachable refuses when a host is needed whose agent cannot be asked.
func (t *restoring) reachable() *snapline.Error {
	problem := &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("snapshot %s cannot be restored now; nothing was touched", t.snapshot.ID)}
	add := func(m snapline.MemberName, h snapline.HostName, text, hint string) {
		problem.Reasons = append(problem.Reasons, snapline.Reason{Member: m, Host: h, Text: text, Hint: hint})
	}
	problem.Reasons = crowded(t.snapshot, t.place)
	for m, h := range t.place {
		if !t.c.roster.online(h) {
			add(m, h, "is to run there, but no agent of this host is online", "start the agent, or choose another host with --place")
		}
		if t.c.isDrained(h) {
			add(m, h, "is to run there, but the host is drained", "choose another host with --place, or: snapline undrain "+string(h))
		}
	}
	for m, h := range t.former() {
		if !t.c.roster.online(h) && !t.without.dead(h) {
			add(m, h, formerText, deadHint(t.snapshot.Group.Name, h))
		}
	}
	for m, h := range t.current() {
		if !t.c.roster.online(h) && t.place[m] != h && !t.without.has(h) {
			add(m, h, "may still be running there, and no agent of this host is online to stop it",
				fmt.Sprintf("start the agent on that host again, or bring the group back without it: snapline recover %s", t.snapshot.Group.Name))
		}
	}
	for _, s := range t.c.mayRun(t.snapshot.Group.Name) {
		if !t.without.has(s.Host) {
			add(s.Member, s.Host, s.String(), deadHint(t.snapshot.Group.Name, s.Host))
		}
	}
	if len(problem.Reasons) == 0 {
		return nil
	}
	sort.SliceStable(problem.Reasons, func(i, j int) bool { return problem.Reasons[i].Member < problem.Reasons[j].Member })
	return problem
}

func (t *restoring) effect(e protocol.Effect) error {
	switch e := e.(type) {
	case protocol.RestoreSend:
		if t.note() {
			if _, open := e.Msg.(protocol.OpenMembers); open && t.sent == nil {
				t.sent = t.c.sent(t.snapshot.Group.Name) // later it is the new timeline's
			}
			t.c.send(e.Msg, e.Host)
		}
	case protocol.RestoreTimer:
		t.op.loop.postAt(e.At, protocol.RestoreRang{})
	case protocol.RestoreNotify:
		if e.Phase == protocol.RestoreLoad && e.Member == "" {
			t.stopped = t.c.Clock.Wall()
		}
		p := snapline.Progress{Member: e.Member}
		if e.Member == "" {
			p.Phase = string(e.Phase)
		} else {
			p.Step = restoreSteps[e.Phase]
		}
		t.op.say(p)
	case protocol.RestoreDone:
		t.done = true
		t.end(e)
	default:
		panic(fmt.Sprintf("node: unknown effect %T", e))
	}
	return nil
}

// restoreSteps names for people what a member has behind it.
var restoreSteps = map[protocol.RestorePhase]string{
	protocol.RestorePlan: "planned", protocol.RestoreStop: "stopped", protocol.RestoreLoad: "loaded",
	protocol.RestoreOpen: "running", protocol.RestoreReplay: "replayed", protocol.RestoreUndo: "undone",
}

// restoredLately reports whether packets of the group's last restore, with the
// codepoint of its quarantine, may be under way. Agents know that too, as long as
// they and the machines live.
func (c *Coordinator) restoredLately(g snapline.GroupName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.restored[g]
	if !ok {
		at = c.began // an earlier life of ours may have restored it
	}
	return c.Clock.Now().Sub(at) < 2*c.Quarantine+2*quarantineTail
}

func (t *restoring) end(e protocol.RestoreDone) {
	if e.Problem == nil || e.Problem.Code != snapline.CodeRefused {
		t.c.mu.Lock()
		t.c.restored[t.snapshot.Group.Name] = t.c.Clock.Now()
		t.c.mu.Unlock()
	}
	var cut snapline.Instant
	if e.Problem == nil && t.sent != nil {
		cut = t.c.cutOf(t.snapshot)
		t.c.askEnded(t.c.ctx, t.sent, t.snapshot.Group.Name, t.current(), cut.Add(-peerSlack))
	}
	if e.Problem == nil {
		t.leave()
		if err := t.move(); err != nil {
			e.Problem = &snapline.Error{Code: snapline.CodeFailed, Message: "the group runs, but where its members are now could not be noted: " + err.Error(), Hint: "snapline apply the group with its new hosts"}
		}
	}
	if e.Problem == nil {
		t.c.forgetStrays(t.snapshot.Group.Name)
	} else {
		t.c.noteStrays(t.snapshot.Group.Name, straysOf(t.place, t.leased, e.Left...))
	}
	if !t.resumed {
		t.c.forgetRestore(t.snapshot.Group.Name, t.noted)
	}
	if e.Problem != nil {
		code := e.Problem.Code
		if t.resumed && code == snapline.CodeRefused {
			code = snapline.CodeFailed // a predecessor may have touched something
		}
		t.c.events.add(snapline.Event{Kind: snapline.EventRestoreFailed, Code: code, Group: t.snapshot.Group.Name, Snapshot: t.snapshot.ID, Op: t.op.state().ID,
			Text: fmt.Sprintf("%s was not restored: %s", t.snapshot.ID, e.Problem.Message), Reasons: e.Problem.Reasons})
		t.op.finish("failed", func(o *snapline.Operation) { o.Error = e.Problem })
		return
	}
	r := &snapline.RestoreResult{ID: t.snapshot.ID, State: "running", DurationMS: sinceMS(t.began), SkewMS: e.SkewMS}
	if t.replay {
		r.Replayed = &e.Packets
	}
	for _, m := range t.snapshot.Members {
		r.Members = append(r.Members, snapline.RestoreMember{Name: m.Name, From: m.Host, Host: t.place[m.Name], LoadMS: e.LoadMS[m.Name]})
	}
	lost, text := t.lost(e, r, cut)
	t.c.events.add(snapline.Event{Kind: snapline.EventRestored, Group: t.snapshot.Group.Name, Snapshot: t.snapshot.ID, Op: t.op.state().ID, Lost: lost,
		Text: fmt.Sprintf("snapshot %s was restored in %.1f s; %s", t.snapshot.ID, r.DurationMS/1000, text)})
	t.op.finish("done", func(o *snapline.Operation) { o.Restore = r })
}

// leave tells the group's protection which hosts were not asked.
func (t *restoring) leave() {
	was := t.current()
	t.c.fate.Lock()
	defer t.c.fate.Unlock()
	if k := t.c.keepers[t.snapshot.Group.Name]; k != nil {
		k.leave(was, t.without, t.asked, addresses(t.snapshot).MACs)
	}
}

// lost says what the restore has taken back, which is nothing of a group that was
// silent from before the cut until its machines were stopped.
func (t *restoring) lost(e protocol.RestoreDone, r *snapline.RestoreResult, cut snapline.Instant) (*snapline.LostInterval, string) {
	now := t.c.Clock.Wall()
	lost := t.c.lostInterval(t.snapshot, now, t.sent, cut)
	q, all := quietOf(t.snapshot, e.Silent)
	if !all {
		r.TakenBackMS = float64(max(0, now.Sub(lost.From)).Microseconds()) / 1000
		return lost, describeLost(lost)
	}
	silent := q.lasted + now.Sub(t.stopped)
	r.SilentMS = float64(silent.Microseconds()) / 1000
	if lost = nil; q.heard > 0 {
		from := t.stopped.Add(-q.heard)
		lost = t.c.lostInterval(t.snapshot, now, t.sent, t.c.Clock.Now().Add(from.Sub(now)))
		lost.From = from
		r.TakenBackMS = float64(q.heard.Microseconds()) / 1000
	}
	return lost, describeQuiet(q, silent, lost)
}

// move notes where the members are now: on which host, and behind which monitor,
// which a snapshot that is older than the group file has brought back. A group
// that was never applied here comes with its snapshot.
func (t *restoring) move() error {
	ctx := context.WithoutCancel(t.c.ctx)
	rec, rev, err := t.c.group(ctx, t.snapshot.Group.Name)
	var e *snapline.Error
	if errors.As(err, &e) && e.Code == snapline.CodeNotFound {
		rec, err = groupRecord{Group: t.snapshot.Group, Placement: map[snapline.MemberName]snapline.HostName{}}, nil
	}
	if err != nil {
		return err
	}
	for m, h := range t.place {
		rec.put(m, h)
		if now := rec.Group.Member(m); now != nil {
			now.QEMU = t.snapshot.Group.Member(m).QEMU
		}
	}
	return t.c.putGroup(ctx, rec, rev)
}
