package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// Take starts a round and returns at once.
func (c *Coordinator) Take(ctx context.Context, r snapline.TakeRequest) (snapline.Operation, error) {
	return c.take(ctx, r, false, nil)
}

// take starts a round whose members are silenced before its cut, if hush is not nil,
// and stay so if it succeeds.
func (c *Coordinator) take(ctx context.Context, r snapline.TakeRequest, scheduled bool, hush *hushing) (snapline.Operation, error) {
	if r.Strategy == "" {
		r.Strategy = snapline.Colour
	}
	if r.Strategy != snapline.Colour && r.Strategy != snapline.Barrier {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("there is no cut called %q: use colour or barrier", r.Strategy)}
	}
	rec, _, err := c.group(ctx, r.Group)
	if err != nil {
		return snapline.Operation{}, err
	}
	if err := c.idle(r.Group); err != nil {
		return snapline.Operation{}, err // before a number is taken
	}
	if hush == nil && c.hushed(r.Group) {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("group %s is silent, and about to go on elsewhere: a host is being drained", r.Group), Hint: "wait until that has ended"}
	}
	n, err := c.nextRound(ctx, r.Group)
	if err != nil {
		return snapline.Operation{}, err
	}
	id := snapline.NewSnapshotID(r.Group, n)
	op := newOperation(c.Clock, snapline.Operation{ID: takeID(id), Kind: kindTake, Group: r.Group, Snapshot: id})
	op.round = n
	release, err := c.begin(r.Group, op)
	if err != nil {
		return snapline.Operation{}, err
	}
	t := &take{c: c, op: op, group: rec.placed(), id: id, note: r.Note, scheduled: scheduled, hush: hush, began: time.Now()}
	if hush != nil {
		c.keepHush(hush, n)
	}
	op.hosts = rec.Placement
	op.end = release
	waiting, cancel := context.WithCancel(c.ctx)
	op.cancel = cancel
	c.running.Go(func() {
		defer cancel()
		t.run(waiting, r.Strategy)
	})
	return op.state(), nil
}

// take owns one round's machine.
type take struct {
	c         *Coordinator
	op        *operation
	group     snapline.Group
	id        snapline.SnapshotID
	note      string
	scheduled bool // by a protection
	hush      *hushing
	// cutAt is when the cut was asked for.
	cutAt   time.Time
	began   time.Time
	machine *protocol.Coordinator
	holds   bool // the right to cut
	tried   bool // to write the record
	done    bool
	record  snapline.Snapshot
	lease   *heldLease // on the repository, from before the first Put
}

// run drives the round to its end. waiting ends when the round is cancelled,
// which matters until the machine runs.
func (t *take) run(waiting context.Context, s snapline.Strategy) {
	var err error
	if t.lease, err = t.c.leases.shared(waiting, t.id, t.op.waits); err != nil {
		t.end(t.notBegun(err))
		return
	}
	defer t.lease.release()
	begin := protocol.Begin{Group: t.group, Round: t.op.round, Strategy: s, Post: t.c.Post, Deadlines: t.c.Deadlines}
	if t.hush != nil {
		begin.Hush = t.hush.until
	}
	t.machine = protocol.NewCoordinator(begin)
	l := t.op.loop
	l.step, l.effect, l.failed = t.machine.Step, t.effect, t.failed
	if t.c.Trace != nil {
		l.trace = func(at snapline.Instant, what any) { t.c.Trace(string(t.id), at, what) }
	}
	l.note(l.clock.Now(), begin)
	select {
	case t.c.cutting <- struct{}{}:
		t.holds = true
	case <-t.c.ctx.Done():
	}
	defer t.release()
	l.post(protocol.Started{})
	for _, m := range t.group.Members {
		if !t.c.roster.online(m.Host) {
			l.post(protocol.Lost{Member: m.Name, Reason: snapline.Reason{Text: "no agent of this host is online", Hint: fmt.Sprintf("start it there: snapline agent --name %s --join …; snapline hosts lists those that are", m.Host)}})
		}
	}
	l.run(t.c.ctx, func() bool { return t.done })
	if !t.done && !t.c.Term.shared { // the coordinator is ending; where there are several, the next one tells
		t.end(&snapline.Error{Code: snapline.CodeUnavailable, Message: "the coordinator was stopped during the round"})
	}
}

// notBegun is why the round could not have the repository.
func (t *take) notBegun(err error) *snapline.Error {
	var e *snapline.Error
	switch {
	case t.c.ctx.Err() != nil:
		return &snapline.Error{Code: snapline.CodeUnavailable, Message: "the coordinator was stopped before the round"}
	case errors.Is(err, context.Canceled):
		return &snapline.Error{Code: snapline.CodeCancelled, Message: "cancelled before it began", Err: err}
	case errors.As(err, &e):
		return e
	}
	return &snapline.Error{Code: snapline.CodeFailed, Message: err.Error(), Err: err}
}

func (t *take) release() {
	if t.holds {
		t.holds = false
		<-t.c.cutting
	}
}

func (t *take) failed(e protocol.Effect, err error) protocol.Input {
	return protocol.Failed{Round: t.op.round, Effect: fmt.Sprintf("%T", e), Reason: snapline.Reason{Text: err.Error()}}
}

func (t *take) effect(e protocol.Effect) error {
	switch e := e.(type) {
	case protocol.Send:
		t.c.send(e.Msg, t.group.Member(e.Msg.About().Member).Host)
	case protocol.SetTimer:
		t.op.loop.postAt(e.At, protocol.Rang{Timer: e.Timer})
	case protocol.Notify:
		if e.Phase == protocol.PhaseStore || e.Phase == protocol.PhaseAbort {
			t.release()
		}
		if e.Phase == protocol.PhaseCut && e.Member == "" {
			t.cutAt = time.Now()
		}
		p := snapline.Progress{Member: e.Member, Step: e.Step}
		if e.Member == "" {
			p.Phase = string(e.Phase)
		}
		t.op.say(p)
	case protocol.Hushing:
		t.c.hushBegins(t.hush, e.Reasons)
	case protocol.Record:
		t.tried = true
		t.c.running.Go(func() { t.commit(e) })
	case protocol.Discard:
		t.discard(context.WithoutCancel(t.c.ctx))
	case protocol.End:
		t.done = true
		t.end(e.Problem)
	default:
		panic(fmt.Sprintf("node: unknown effect %T", e))
	}
	return nil
}

// discard removes what an aborted round has put. After an attempt to commit whose
// answer nobody has, it has to be decided first.
func (t *take) discard(ctx context.Context) {
	if !t.c.Term.Leads() {
		return // the next one does
	}
	err := error(nil)
	if t.tried {
		_, err = t.c.decide(ctx, t.id)
	} else {
		err = t.c.discard(ctx, t.id)
	}
	if err != nil {
		t.c.Log.Warn("discard", "snapshot", t.id, "error", err)
	}
}

// commit writes the record. From then on the snapshot exists.
func (t *take) commit(e protocol.Record) {
	t.record = snapline.Snapshot{Format: snapline.SnapshotFormat, ID: t.id, Group: t.group, Note: t.note, Scheduled: t.scheduled, TakenAt: t.c.Clock.Wall().Add(-time.Since(t.cutAt)), Cut: e.Cut, Members: e.Parts}
	t.record.Verdict = judge(t.c.ctx, t.c.Repository, t.record)
	var done protocol.Recorded
	ctx := context.WithoutCancel(t.c.ctx)
	err := t.lease.check(ctx)
	if err == nil {
		err = t.c.Repository.Commit(ctx, t.record)
	}
	if err != nil {
		done.Err = err.Error()
		switch {
		case errors.Is(err, snapline.ErrExists):
			done.Err = fmt.Sprintf("the repository has a snapshot %s already, of another coordinator", t.id)
		case errors.Is(err, snapline.ErrGivenUp):
			done.Err = "another coordinator has taken over meanwhile, and has given this round up"
		}
	}
	t.op.loop.post(done)
}

func (t *take) end(problem *snapline.Error) {
	if problem != nil {
		if t.hush != nil {
			t.c.endHush(t.hush)
		}
		problem.Message = strings.TrimSpace(fmt.Sprintf("snapshot %s was not taken: %s", t.id, problem.Message))
		t.c.events.add(snapline.Event{Kind: snapline.EventTakeFailed, Code: problem.Code, Group: t.group.Name, Op: t.op.state().ID, Text: problem.Message, Reasons: problem.Reasons})
		t.op.finish("failed", func(o *snapline.Operation) { o.Error = problem })
		return
	}
	t.c.taken(t.group.Name, t.id, t.cutAt)
	r := takeResult(t.record)
	r.DurationMS = sinceMS(t.began)
	t.c.Log.Info("taken", "snapshot", t.id, "duration_ms", r.DurationMS)
	text := fmt.Sprintf("snapshot %s was taken in %.1f s", t.id, r.DurationMS/1000)
	if r.Verdict != nil {
		text += ", " + r.Verdict.Text
	}
	t.c.events.add(snapline.Event{Kind: snapline.EventTaken, Group: t.group.Name, Snapshot: t.id, Op: t.op.state().ID, Text: text})
	t.op.finish("done", func(o *snapline.Operation) { o.Take = r })
}

// takeResult is what a record says of its taking.
func takeResult(s snapline.Snapshot) *snapline.TakeResult {
	r := &snapline.TakeResult{ID: s.ID, State: "committed", Cut: s.Cut, Verdict: s.Verdict}
	for _, m := range s.Members {
		stored := m.Object.StoredBytes
		for _, d := range m.Disks {
			stored += d.Object.StoredBytes
		}
		r.Members = append(r.Members, snapline.TakeMember{Name: m.Name, Host: m.Host, Method: m.Capture.Method, Why: m.Capture.Why,
			PauseMS: m.Capture.PauseMS, RAMBytes: m.VM.RAMBytes, StoredBytes: stored, Withheld: m.Counters.Withheld})
	}
	return r
}

func sinceMS(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }
