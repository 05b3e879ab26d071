package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// fences keeps the fences of this host's members: of those that a restore has
// put in quarantine, of those that run under a lease, and of those that are silent. What it decides on is
// in the kernel; the next life of the agent finds it there.
type fences struct {
	agent *Agent

	mu     sync.Mutex // guards the fields below
	all    map[memberKey]*memberFence
	hushes map[memberKey]*hush
	// asked is when the last hello was sent that has been answered, silent when the
	// first one was that has not been answered since.
	asked, silent snapline.Instant
	lease         time.Duration
	gaps          int // how often the lease had run out when a hello was answered again
	raising       map[memberKey]bool
	failed        map[memberKey]string           // why a member could not be fenced
	looked        map[memberKey]snapline.Instant // when a member that is to be ended was looked for
	// coloured is until when members of this host have marked with RESTORED.
	coloured map[memberKey]snapline.Instant
	working  sync.WaitGroup
}

// memberFence is one member's.
type memberFence struct {
	snapline.Fence
	member snapline.Member
	nics   []snapline.NIC   // nil: not known yet, the fence is a former life's
	raised snapline.Instant // Never: not known, or it has been without a lease since
	rules  snapline.FenceRules
	loaded bool // a restore has loaded the machine and not let it run yet
	lease  bool // loaded: it is to run under one; should we die, it will not run at all
}

func newFences(a *Agent) *fences {
	return &fences{agent: a, all: map[memberKey]*memberFence{}, hushes: map[memberKey]*hush{}, raising: map[memberKey]bool{},
		failed: map[memberKey]string{}, looked: map[memberKey]snapline.Instant{}, coloured: map[memberKey]snapline.Instant{}}
}

// find takes over the fences that stand here.
func (f *fences) find(ctx context.Context) {
	standing, err := f.agent.Fences.Standing(ctx)
	if err != nil {
		f.agent.Log.Error("fences of a former life", "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range standing {
		o := one.Owner()
		k := memberKey{o.Group, o.Member.Name}
		rules, err := one.Rules()
		if err != nil {
			f.agent.Log.Error("fence of a former life", "member", k.member, "error", err)
			continue
		}
		if rules.HushedUntil != snapline.Never {
			f.foundHush(k, one, rules)
			continue
		}
		if old := f.all[k]; old != nil { // that life was replacing it
			f.lowered(k, old.Lower())
		}
		f.all[k] = &memberFence{Fence: one, member: o.Member, rules: rules}
		f.coloured[k] = rules.RestoredUntil
	}
}

// tend ends what has had its time, until ctx ends.
func (f *fences) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		f.tendOnce(ctx)
		select {
		case <-ctx.Done():
			f.working.Wait()
			f.letGo()
			return
		case <-tick.C:
		}
	}
}

func (f *fences) tendOnce(ctx context.Context) {
	now := f.agent.Clock.Now()
	var end []memberKey
	f.mu.Lock()
	f.tendHushes(now)
	for k, m := range f.all {
		switch {
		case m.loaded:
		case m.rules == listening, m.rules == snapline.FenceRules{}: // a former life's, and never let run
			end = append(end, k)
		case !m.rules.Leased():
			if now >= m.rules.RestoredUntil && now >= m.rules.RefuseUntil {
				f.lower(k)
			}
		case f.silent != snapline.Never && now.Sub(max(m.rules.OpenUntil, f.silent)) > f.agent.EndAfter:
			end = append(end, k)
		}
	}
	f.mu.Unlock()
	for _, k := range end {
		f.agent.Log.Warn("the lease has run out and nobody renews it: ending the machine", "group", k.group, "member", k.member)
		f.mu.Lock()
		m := f.all[k]
		f.mu.Unlock()
		if m == nil {
			continue
		}
		if err := f.end(ctx, k, nil); err != nil {
			f.agent.Log.Error("end the machine", "group", k.group, "member", k.member, "error", err)
		}
	}
}

// letGo leaves the fences to their rules and to the agent's next life.
func (f *fences) letGo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.all {
		if err := m.Close(); err != nil {
			f.agent.Log.Warn("let go of fence", "member", m.member.Name, "error", err)
		}
	}
	for k, h := range f.hushes {
		f.hear(k, h) // whoever stops us does not want them to wait
	}
}

// lower takes a fence down; under f.mu.
func (f *fences) lower(k memberKey) {
	m := f.all[k]
	if m == nil {
		return
	}
	if !m.loaded && m.rules.Leased() {
		f.agent.peers.read(k, m)
	}
	err := m.Lower()
	f.lowered(k, err)
	if err == nil { // else it is tried again
		delete(f.all, k)
	}
}

func (f *fences) lowered(k memberKey, err error) {
	if err != nil {
		f.agent.Log.Error("lower fence", "group", k.group, "member", k.member, "error", err)
	}
}

// stop ends every instance of a member that may be living here: as it is declared,
// by this word or that, and as it was when its fence was raised. A group file may
// have changed since. macs are as Hypervisor.Stop's; what our own fence stands around is an
// instance.
func (f *fences) stop(ctx context.Context, k memberKey, macs []string, declared ...snapline.Member) error {
	f.mu.Lock()
	standing := f.all[k]
	f.mu.Unlock()
	if standing != nil {
		if err := f.agent.Hypervisor.Stop(ctx, standing.member, nil); err != nil {
			return err
		}
	}
	for _, m := range declared {
		if standing != nil && m.QEMU != nil && standing.member.QEMU != nil && *m.QEMU == *standing.member.QEMU {
			continue
		}
		if err := f.agent.Hypervisor.Stop(ctx, m, macs); err != nil {
			return err
		}
	}
	return nil
}

// end stops a member's machine and then takes its fence down: in the other order
// a machine that must not speak could.
func (f *fences) end(ctx context.Context, k memberKey, macs []string, declared ...snapline.Member) error {
	f.mu.Lock()
	before := f.all[k]
	f.mu.Unlock()
	if err := f.stop(ctx, k, macs, declared...); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endHush(k)
	if f.all[k] == before {
		f.lower(k)
		f.agent.peers.end(k)
	}
	return nil
}

// set changes a fence's rules; under f.mu.
func (m *memberFence) set(r snapline.FenceRules) error {
	if err := m.Set(r); err != nil {
		return err
	}
	m.rules = r
	return nil
}

// stopped notes that no instance of the member is living here any more, and returns
// how silent it was, if it had been silenced.
func (f *fences) stopped(k memberKey) (protocol.Silence, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, silenced := f.silence(k)
	f.endHush(k)
	f.lower(k)
	f.agent.peers.end(k)
	return s, silenced
}

// stillColoured reports whether packets that members of the group have marked
// with RESTORED may be under way, given how long packets live.
func (f *fences) stillColoured(g snapline.GroupName, lifetime time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.agent.Clock.Now()
	for k, until := range f.coloured {
		if k.group == g && until != snapline.Never && now < until.Add(lifetime) {
			return true
		}
	}
	return false
}

// quarantine is until when the member marks with RESTORED.
func (f *fences) quarantine(k memberKey) snapline.Instant {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.all[k]; m != nil {
		return max(m.rules.RestoredUntil, m.rules.RefuseUntil)
	}
	return snapline.Never
}

// tapped are those NICs that have a tap. What has none cannot be reached from
// the members' network by packets of the old timeline: it is either private to
// its QEMU process, and began with it, or passes no host's kernel.
func tapped(nics []snapline.NIC) []snapline.NIC {
	return slices.DeleteFunc(slices.Clone(nics), func(n snapline.NIC) bool { return n.Tap == "" })
}

// noTap says which NICs cannot be fenced.
func noTap(nics []snapline.NIC) error {
	var names []string
	for _, n := range nics {
		if n.Tap == "" {
			names = append(names, fmt.Sprintf("%s (%s)", n.ID, n.Backend))
		}
	}
	if names == nil {
		return nil
	}
	return errors.New("no fence can cover NIC " + strings.Join(names, ", ") + ": give it a tap (-netdev tap,...)")
}
