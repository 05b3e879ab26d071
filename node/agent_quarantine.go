package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// How quarantines and rounds go together.
const (
	// quarantineTail is how much longer a member marks than it refuses: the others
	// may have been let run a little later.
	quarantineTail = time.Second
	// quarantineWait is how long a round waits for the end of one.
	quarantineWait = snapline.DefaultQuarantine + 2*quarantineTail
)

// listening are the rules of a machine that has been loaded: what the members send
// that run first waits for it in its taps. It sends nothing itself.
var listening = snapline.FenceRules{OpenUntil: snapline.Always, RefuseUntil: snapline.Always}

// shutIn puts a fence around a machine that has been loaded and is not connected
// to the network yet. Until letRun no packet of a member passes it that is not
// of this restore; when those of an earlier one could be taken for such, none at
// all.
func (f *fences) shutIn(ctx context.Context, p protocol.PlanRestore, m snapline.MemberName, nics []snapline.NIC, coloured bool) error {
	taps := tapped(nics)
	if len(taps) == 0 {
		return nil
	}
	rules := listening
	if coloured {
		rules = snapline.FenceRules{}
	}
	member := *p.Group.Member(m)
	fence, err := f.agent.Fences.Raise(ctx, snapline.FenceSpec{
		Owner: snapline.FenceOwner{Group: p.Group.Name, Member: member}, NICs: taps, Rules: rules,
		Restored: snapline.RestoredCodepoint, Members: p.Addresses,
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k := memberKey{p.Group.Name, m}
	f.lower(k) // of a machine that is gone
	f.agent.peers.end(k)
	f.all[k] = &memberFence{Fence: fence, member: member, nics: nics, raised: f.agent.Clock.Now(), rules: rules, loaded: true, lease: p.Lease > 0}
	return nil
}

// letRun opens the fence of a machine that is about to run: with the quarantine,
// and under the lease that the last answered hello has given. It refuses when the
// lease has run out since the restore was planned, given again or not: the order may
// have been under way for as long, and the member been restored elsewhere.
func (f *fences) letRun(p protocol.PlanRestore, m snapline.MemberName, gaps int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gaps != gaps || f.ranOut() {
		return errors.New("this host was cut off from the coordinator for longer than its lease during the restore")
	}
	k := memberKey{p.Group.Name, m}
	fence := f.all[k]
	if fence == nil {
		return nil // a machine without a tap
	}
	rules := snapline.FenceRules{OpenUntil: snapline.Always}
	if p.Lease > 0 {
		rules.OpenUntil = max(runOut, f.asked.Add(min(p.Lease, f.lease)))
	}
	rules.RefuseUntil = f.agent.Clock.Now().Add(p.Quarantine)
	rules.RestoredUntil = rules.RefuseUntil.Add(quarantineTail)
	f.coloured[k] = rules.RestoredUntil
	if err := fence.set(rules); err != nil {
		return err
	}
	fence.loaded = false
	return nil
}

// outOfQuarantine waits until the member does not mark with RESTORED any more:
// its round's mark would be written over. A quarantine that lasts longer refuses
// the round.
func (r *memberRunner) outOfQuarantine(ctx context.Context) *snapline.Reason {
	left := r.agent.fences.quarantine(r.key).Sub(r.agent.Clock.Now())
	switch {
	case left <= 0:
		return nil
	case left > quarantineWait:
		return &snapline.Reason{Text: fmt.Sprintf("it was restored a moment ago and is in quarantine for another %v", left.Round(time.Second)),
			Hint: "take the snapshot after that, or with --cut barrier"}
	}
	select {
	case <-time.After(left + time.Millisecond):
	case <-ctx.Done():
	}
	return nil
}
