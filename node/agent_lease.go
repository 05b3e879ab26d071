package node

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/snapline/snapline"
)

// memberRef names a member of a group.
type memberRef struct {
	Group  snapline.GroupName  `json:"group"`
	Member snapline.MemberName `json:"member"`
}

// fenced is a member that may run under a lease, or may not any more.
type fenced struct {
	Group  snapline.GroupName `json:"group"`
	Member snapline.Member    `json:"member"`
	// MACs, if not nil, tell the machine from others; see Hypervisor.Stop.
	MACs []string `json:"macs,omitempty"`
}

func (f fenced) key() memberKey { return memberKey{f.Group, f.Member.Name} }

// unfenced says why a member that should be fenced is not.
type unfenced struct {
	memberRef
	Text string `json:"text"`
}

// standing lists the members whose packet path carries a lease at this moment,
// and why others do not.
func (f *fences) standing() (up []memberRef, down []unfenced) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, m := range f.all {
		if m.loaded && !m.lease || !m.loaded && !m.rules.Leased() || m.nics == nil {
			continue
		}
		if ok, err := m.Covers(m.nics); err == nil && ok {
			up = append(up, memberRef{k.group, k.member})
		}
	}
	for k, why := range f.failed {
		down = append(down, unfenced{memberRef{k.group, k.member}, why})
	}
	return up, down
}

// leased lists the members that a fence with a lease stands around, those of the
// agent's former lives among them, whether it covers the machine or not.
func (f *fences) leased() (refs []memberRef) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, m := range f.all {
		if !m.loaded && m.rules.Leased() {
			refs = append(refs, memberRef{k.group, k.member})
		}
	}
	return refs
}

// answered does what the coordinator says in its answer to the hello that was
// sent at the instant asked. Leases count from there: whatever the answer's
// delay, the coordinator cannot have counted from earlier.
func (f *fences) answered(ctx context.Context, asked snapline.Instant, w welcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ranOut() {
		f.gaps++
	}
	f.asked, f.silent = asked, snapline.Never
	if w.Lease > 0 {
		f.lease = w.Lease
	}
	maps.DeleteFunc(f.failed, func(k memberKey, _ string) bool {
		return !slices.ContainsFunc(w.Fence, func(m fenced) bool { return m.key() == k })
	})
	for _, m := range w.Fence {
		f.hold(ctx, m)
	}
	for _, ref := range w.Lift {
		f.lift(memberKey{ref.Group, ref.Member})
	}
	for _, m := range w.Evict {
		f.evict(ctx, m)
	}
	f.keepHushed(asked, w.Hush)
}

// unanswered notes that the coordinator did not answer.
func (f *fences) unanswered(asked snapline.Instant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.silent == snapline.Never {
		f.silent = asked
	}
}

// ranOut reports whether the host's lease has run out; under f.mu. The coordinator
// may have counted the host as lost then, and gone on without it.
func (f *fences) ranOut() bool {
	return f.asked != snapline.Never && f.agent.Clock.Now() >= f.leaseEnd()
}

// planned is what a restore has to show when it lets members run; see letRun.
func (f *fences) planned() (gaps int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gaps
}

// leaseEnd is when a lease ends that is given now; under f.mu.
func (f *fences) leaseEnd() snapline.Instant {
	if f.asked == snapline.Never {
		return snapline.Never
	}
	return f.asked.Add(f.lease)
}

// hold renews a member's lease, and raises its fence first if there is none;
// under f.mu.
func (f *fences) hold(ctx context.Context, m fenced) {
	k := m.key()
	have := f.all[k]
	if have != nil && have.loaded {
		return // not let run yet: the restore decides
	}
	if have != nil {
		rules := have.rules
		if rules.OpenUntil = f.leaseEnd(); rules != have.rules {
			if err := have.set(rules); err != nil {
				f.failed[k] = err.Error()
			}
		}
		covers, err := have.Covers(have.nics)
		if err == nil && covers && have.nics != nil {
			return
		}
	}
	if f.raising[k] || f.agent.turn.busy() {
		return // a restore at work here raises it, and needs the monitor for itself
	}
	f.raising[k] = true
	f.working.Go(func() { f.raise(ctx, m) })
}

// raise puts a fence around a machine that runs. It asks the machine for its
// NICs, which may take a while.
func (f *fences) raise(ctx context.Context, m fenced) {
	k := m.key()
	nics, err := f.agent.nics(ctx, m)
	f.mu.Lock()
	defer f.mu.Unlock()
	defer delete(f.raising, k)
	delete(f.failed, k)
	if err == nil {
		err = f.raiseOn(ctx, m, nics)
	}
	if err != nil {
		f.failed[k] = err.Error()
		f.agent.Log.Warn("fence", "group", k.group, "member", k.member, "error", err)
	}
}

// raiseOn is raise under f.mu.
func (f *fences) raiseOn(ctx context.Context, m fenced, nics []snapline.NIC) error {
	k := m.key()
	old := f.all[k]
	if old != nil && old.loaded {
		return nil // a restore has come first
	}
	if old != nil {
		old.nics = nics
		if ok, err := old.Covers(nics); ok && err == nil {
			return nil // of a former life, and whole
		}
	}
	if err := noTap(nics); err != nil {
		return err
	}
	rules := snapline.FenceRules{OpenUntil: f.leaseEnd()}
	if old != nil {
		rules.RefuseUntil, rules.RestoredUntil = old.rules.RefuseUntil, old.rules.RestoredUntil
	}
	next, err := f.agent.Fences.Raise(ctx, snapline.FenceSpec{
		Owner: snapline.FenceOwner{Group: m.Group, Member: m.Member}, NICs: nics, Rules: rules, Restored: snapline.RestoredCodepoint,
	})
	if err != nil {
		return err
	}
	f.lower(k) // of the machine's former taps, or not of all of them
	f.all[k] = &memberFence{Fence: next, member: m.Member, nics: nics, raised: f.agent.Clock.Now(), rules: rules}
	return nil
}

// nics asks a machine for its NICs, through whoever holds its monitor.
func (a *Agent) nics(ctx context.Context, m fenced) ([]snapline.NIC, error) {
	a.mu.Lock()
	runner := a.members[m.key()]
	a.mu.Unlock()
	if runner != nil {
		if vm := runner.held(); vm != nil {
			return vm.Info().NICs, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	vm, err := a.Hypervisor.Adopt(ctx, m.Member)
	if err != nil {
		return nil, err
	}
	nics := vm.Info().NICs
	return nics, vm.Close()
}

// seen notes a machine's NICs: one that was plugged in since is fenced with the
// next renewal.
func (f *fences) seen(k memberKey, nics []snapline.NIC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.all[k]; m != nil && m.rules.Leased() {
		m.nics = nics
	}
}

// lift opens a fence for good; under f.mu. A quarantine goes on.
func (f *fences) lift(k memberKey) {
	m := f.all[k]
	if m == nil || m.loaded {
		return
	}
	rules := m.rules
	rules.OpenUntil = snapline.Always
	if err := m.set(rules); err != nil {
		f.agent.Log.Error("lift fence", "group", k.group, "member", k.member, "error", err)
		return
	}
	m.raised = snapline.Never
	f.agent.peers.drop(k)
	if now := f.agent.Clock.Now(); now >= rules.RestoredUntil && now >= rules.RefuseUntil {
		f.lower(k)
	}
}

// evict ends a machine whose member has been restored elsewhere; under f.mu.
func (f *fences) evict(ctx context.Context, m fenced) {
	k := m.key()
	have := f.all[k]
	now := f.agent.Clock.Now()
	if have == nil && f.looked[k] != snapline.Never && now.Sub(f.looked[k]) < evictEvery {
		return // there was nothing, or there is nothing any more
	}
	if f.raising[k] || have != nil && have.loaded || f.agent.turn.busy() {
		return // told again in a second, if it is still so
	}
	if have != nil { // whatever else happens, it speaks to nobody any more
		if err := have.set(snapline.FenceRules{OpenUntil: runOut}); err != nil {
			f.agent.Log.Error("shut fence", "group", k.group, "member", k.member, "error", err)
		}
	}
	f.raising[k], f.looked[k] = true, now
	f.working.Go(func() {
		if have != nil {
			f.agent.Log.Warn("the member was restored elsewhere: ending the machine", "group", k.group, "member", k.member)
		}
		if err := f.end(ctx, k, m.MACs, m.Member); err != nil {
			f.agent.Log.Error("end the machine", "group", k.group, "member", k.member, "error", err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.raising, k)
	})
}

// runOut is a lease that has run out. Never would say that the machine has never
// run.
const runOut snapline.Instant = 1

// Intervals of the fences.
const (
	tendEvery       = time.Second
	evictEvery      = 5 * time.Second // looks for a machine without a fence
	defaultEndAfter = time.Minute     // of unanswered hellos, beyond the lease
)
