package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// keeper protects one group: it takes snapshots at an interval and brings the
// group back when a host is lost. All that takes time happens in its own
// goroutine, one thing after the other, so that a slow snapshot never overlaps
// the next one and a recovery comes before both.
type keeper struct {
	c     *Coordinator
	group snapline.GroupName
	wake  chan struct{} // has one value when something may be to be done
	end   func()        // stops the goroutine and waits for it
	// said is what the log was last told of each kind; the goroutine's own.
	said map[snapline.EventKind]string
	// missed are members whose machine was gone when it was looked for last; the
	// goroutine's own.
	missed map[snapline.MemberName]time.Time // since when
	looked time.Time

	saving sync.Mutex // one writer at a time, so that the last state is the last written

	// Under the coordinator's fate.
	rec     protectionRecord
	retired bool // another keeper, or none, has taken over: nothing is decided here any more
	unsaved bool
	unable  map[snapline.MemberName]string // why a member is not fenced
	failure *snapline.Error                // of the last take, nil after one that worked
	why     []snapline.Reason              // why a recovery waits
	waits   snapline.ProtectionState
	late    bool
	next    time.Time // when a take is due
	last    time.Time // the last snapshot's cut
	fails   int       // takes that failed in a row
	peers   *peerLog
	cut     struct { // of the last snapshot of this life
		id snapline.SnapshotID
		at snapline.Instant
	}
}

// protectionRecord is what the coordinator keeps of a protection.
type protectionRecord struct {
	Request snapline.ProtectRequest `json:"request"`
	Since   time.Time               `json:"since"`
	// Fenced says on which host a member's network is known to close with the
	// host's lease.
	Fenced map[snapline.MemberName]snapline.HostName `json:"fenced,omitempty"`
	// Left says which hosts restores have gone on without, where a member was: what
	// these hosts start again by themselves is of an abandoned timeline. MACs are the
	// members' addresses, by which it is known.
	Left map[snapline.MemberName][]snapline.HostName `json:"left,omitempty"`
	MACs []string                                    `json:"macs,omitempty"`
	// Recovery is not nil from the decision on that a host is lost until the group
	// runs again: a host that is in it is not renewed, whoever coordinates.
	Recovery *recoveryRecord `json:"recovery,omitempty"`
}

type recoveryRecord struct {
	Since time.Time           `json:"since"`
	Gone  []snapline.HostName `json:"gone"`
	// Released are hosts that were given back to their owners: what runs there is
	// ended, not waited for.
	Released []snapline.HostName `json:"released,omitempty"`
}

// pace is how often a keeper does what it does.
type pace struct {
	busy    time.Duration // while another operation has the group
	retry   time.Duration // after a take or recovery failed; doubled each time
	longest time.Duration // of the pauses between two recoveries
	look    time.Duration // for memory that has become free, and for machines that are gone
}

var defaultPace = pace{busy: time.Second, retry: 2 * time.Second, longest: 30 * time.Second, look: 10 * time.Second}

// run works until ctx ends. It begins when the coordinator serves: what a
// predecessor was bringing back is known by then.
func (k *keeper) run(ctx context.Context) {
	select {
	case <-k.c.ready:
	case <-ctx.Done():
		return
	}
	k.begin(ctx)
	for attempt := 0; ctx.Err() == nil; {
		k.save(ctx)
		pause := k.recover(ctx, &attempt)
		switch {
		case pause != 0:
		case len(k.missed) > 0: // no take works without it
			pause = k.looks()
		default:
			if pause = k.due(); pause <= 0 {
				k.take(ctx)
				continue
			}
		}
		if until := k.lateness(); until > 0 {
			pause = min(pause, until)
		}
		pause = min(pause, k.looks())
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-time.After(pause):
		}
	}
}

// nudge makes the keeper look again.
func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// begin finds out how old the last snapshot is. Times are kept with a monotonic
// reading from here on, so that a clock that is set does not matter.
func (k *keeper) begin(ctx context.Context) {
	last := k.rec.Since
	if all, err := k.c.Snapshots(ctx, k.group); err == nil && len(all) > 0 {
		last = all[len(all)-1].TakenAt
	}
	age := max(0, k.c.Clock.Wall().Sub(last))
	k.c.fate.Lock()
	defer k.c.fate.Unlock()
	k.last = time.Now().Add(-age)
	k.next = k.last.Add(k.rec.Request.Every())
	if !last.After(k.rec.Since) {
		k.next = time.Now() // none since it is protected
	}
}

// due is the time until the next take.
func (k *keeper) due() time.Duration {
	k.c.fate.Lock()
	defer k.c.fate.Unlock()
	return time.Until(k.next)
}

// taken notes that there is a new snapshot, whoever took it.
func (c *Coordinator) taken(g snapline.GroupName, id snapline.SnapshotID, at time.Time) {
	c.fate.Lock()
	defer c.fate.Unlock()
	if k := c.keepers[g]; k != nil {
		k.last = at
		k.cut.id, k.cut.at = id, c.Clock.Now().Add(-time.Since(at))
		k.nudge()
	}
}

// lateness tells when the protection becomes late, or is no longer, and returns
// how long it is until it would be; 0 when it is already.
func (k *keeper) lateness() time.Duration {
	k.c.fate.Lock()
	defer k.c.fate.Unlock()
	left := time.Until(k.last.Add(k.rec.Request.MaxLoss()))
	switch late := left <= 0; {
	case late && !k.late:
		k.c.events.add(snapline.Event{Kind: snapline.EventLate, Group: k.group, Text: fmt.Sprintf("the last snapshot of %s is older than %v, its max-loss", k.group, k.rec.Request.MaxLoss())})
		k.late = true
	case !late && k.late:
		k.c.events.add(snapline.Event{Kind: snapline.EventOnTime, Group: k.group, Text: fmt.Sprintf("the last snapshot of %s is younger than its max-loss again", k.group)})
		k.late = false
	}
	return max(0, left)
}

// take takes one snapshot and applies the retention.
func (k *keeper) take(ctx context.Context) {
	began := time.Now()
	op, err := k.c.take(ctx, snapline.TakeRequest{Group: k.group}, true, nil)
	if err == nil {
		op, err = k.c.outcome(ctx, op.ID)
	}
	if ctx.Err() != nil {
		return
	}
	every := k.rec.Request.Every()
	if err == nil && op.Error != nil {
		err = op.Error
	}
	k.c.fate.Lock()
	if err == nil {
		k.failure, k.fails, k.next = nil, 0, began.Add(every)
		k.c.fate.Unlock()
		k.lateness()
		k.retain(ctx)
		return
	}
	defer k.c.fate.Unlock()
	var e *snapline.Error
	if errors.As(err, &e) && e.Code == snapline.CodeBusy {
		k.next = time.Now().Add(k.c.pace.busy) // no failure: somebody else was quicker
		return
	}
	if e == nil {
		e = &snapline.Error{Code: snapline.CodeFailed, Message: err.Error()}
	}
	k.failure = e
	k.looked = time.Time{} // a machine that is gone may be why
	k.next = time.Now().Add(min(every, k.c.pace.retry<<min(k.fails, 10)))
	k.fails++
}

// looks is how soon the members' machines are to be looked for again.
func (k *keeper) looks() time.Duration {
	if len(k.missed) > 0 {
		return k.c.pace.retry
	}
	return k.c.pace.look
}

// missing finds members whose machine is gone although their host is there: it
// has crashed, or the host was restarted. What is gone for a while is returned.
func (k *keeper) missing(ctx context.Context) (gone []snapline.Reason) {
	if time.Since(k.looked) < k.looks() {
		return nil
	}
	k.looked = time.Now()
	k.c.fate.Lock()
	group := k.c.groups[k.group].placed()
	k.c.fate.Unlock()
	before := k.missed
	k.missed = map[snapline.MemberName]time.Time{}
	for _, m := range group.Members {
		if k.c.runningOn(k.group) != nil { // that one sees for itself, or is about to stop it
			k.missed = before
			return nil
		}
		if k.c.inspect(ctx, k.group, m).VM != vmGone {
			continue
		}
		since, again := before[m.Name]
		if !again {
			since = k.looked
		}
		k.missed[m.Name] = since
		if time.Since(since) >= k.c.pace.retry {
			gone = append(gone, snapline.Reason{Member: m.Name, Host: m.Host, Text: "its machine is gone"})
		}
	}
	return gone
}

// retain deletes the protection's own snapshots that are not to be kept. It
// prunes only if there are some, since no round writes meanwhile.
func (k *keeper) retain(ctx context.Context) {
	r := snapline.PruneRequest{Group: k.group, Keep: k.rec.Request.Keep, Scheduled: true}
	all, err := k.c.Snapshots(ctx, k.group)
	old := r.Remove(all)
	if err != nil || len(old) == 0 {
		return
	}
	op, err := k.c.Prune(ctx, r)
	var e *snapline.Error
	if errors.As(err, &e) && e.Code == snapline.CodeRefused { // a repository that gives space back by itself
		err = nil
		for _, s := range old {
			err = errors.Join(err, k.c.Delete(ctx, s.ID))
		}
	} else if err == nil {
		if op, err = k.c.outcome(ctx, op.ID); err == nil && op.Error != nil {
			err = op.Error
		}
	}
	if err != nil && ctx.Err() == nil {
		// After the next take it is tried again.
		k.c.Log.Warn("retention", "group", k.group, "error", err)
	}
}

// outcome waits for an operation's end.
func (c *Coordinator) outcome(ctx context.Context, id snapline.OperationID) (snapline.Operation, error) {
	op, err := c.operation(id)
	if err != nil {
		return snapline.Operation{}, err
	}
	for range op.follow(ctx, 0) {
	}
	if ctx.Err() != nil {
		return snapline.Operation{}, context.Cause(ctx)
	}
	return op.state(), nil
}

// status is the protection as it is now; fate is held.
func (k *keeper) status() *snapline.Protection {
	r := k.rec.Request
	p := &snapline.Protection{EveryMS: r.EveryMS, MaxLossMS: float64(r.MaxLoss()) / float64(time.Millisecond), Keep: r.Keep, Since: k.rec.Since, State: snapline.ProtectionOK}
	now := time.Now()
	due := k.c.Clock.Wall().Add(max(0, k.next.Sub(now)))
	p.NextAt = &due
	if k.failure != nil {
		p.State, p.Reasons = snapline.ProtectionFailing, append([]snapline.Reason{{Text: k.failure.Message, Hint: k.failure.Hint}}, k.failure.Reasons...)
	}
	if k.late {
		p.State = snapline.ProtectionLate
		p.Reasons = append([]snapline.Reason{{Text: fmt.Sprintf("the last snapshot is %v old", now.Sub(k.last).Round(time.Second))}}, p.Reasons...)
	}
	if bare := k.unfenced(); k.failure == nil && !k.late && len(bare) > 0 {
		p.State, p.Reasons = snapline.ProtectionUnfenced, bare
	}
	if k.waits != "" {
		p.State, p.Reasons, p.NextAt = k.waits, k.why, nil
	}
	return p
}

// unfenced are the members that run on a host whose loss would not silence
// them; fate is held.
func (k *keeper) unfenced() (bare []snapline.Reason) {
	for m, h := range k.c.groups[k.group].Placement {
		if k.rec.Fenced[m] != h {
			text := "its network does not close yet when its host is cut off"
			if why := k.unable[m]; why != "" {
				text = "its network does not close when its host is cut off: " + why
			}
			bare = append(bare, snapline.Reason{Member: m, Host: h, Text: text})
		}
	}
	slices.SortFunc(bare, func(a, b snapline.Reason) int { return cmp.Compare(a.Member, b.Member) })
	return bare
}
