package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// restoreRunner owns this host's machine of one restore.
type restoreRunner struct {
	agent   *Agent
	machine *protocol.RestoreAgent
	loop    *loop
	work    sync.WaitGroup

	mu     sync.Mutex
	loaded map[snapline.MemberName]snapline.VM    // started by us, not let go of yet
	nics   map[snapline.MemberName][]snapline.NIC // of those that were loaded
	// channel is what is to be replayed.
	channel map[snapline.MemberName][][]byte
	lapse   *time.Timer // ends what was loaded and never opened
	group   snapline.GroupName
	gaps    int         // of the host's lease, when the restore was planned
	holds   atomic.Bool // loaded has some; for who must not wait for mu
	ending  atomic.Bool // they are being given up because the restore is over
}

// restore returns the runner of an operation, which lives as long as the
// agent: there are few, and a late question must find its answer.
func (a *Agent) restore(op snapline.OperationID) *restoreRunner {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.restores[op]
	if r == nil {
		r = &restoreRunner{agent: a, machine: protocol.NewRestoreAgent(a.Host, a.life), loop: newLoop(a.Clock),
			loaded: map[snapline.MemberName]snapline.VM{}, nics: map[snapline.MemberName][]snapline.NIC{}}
		r.loop.step = r.machine.Step
		r.loop.effect = r.effect
		r.loop.failed = func(protocol.Effect, error) protocol.Input { return nil } // asked again
		r.loop.trace = a.tracer("restore/" + string(op))
		r.loop.note(a.Clock.Now(), protocol.Life{Host: a.Host, Incarnation: a.life})
		a.restores[op] = r
		a.running.Go(r.run)
	}
	return r
}

func (r *restoreRunner) run() {
	r.loop.run(r.agent.ctx, func() bool { return false })
	r.work.Wait()
	// The agent is ending. What was loaded and never ran is nobody's work yet.
	r.kill(context.Background())
}

// endLoaded ends what earlier restores of the group have loaded here and nobody
// has undone: their coordinator is gone, or took this host for lost. Whoever
// loaded a machine ends it, for that gives back the disks that it has replaced,
// and later would take those of the next restore.
func (a *Agent) endLoaded(ctx context.Context, p protocol.PlanRestore) []snapline.Reason {
	a.mu.Lock()
	var earlier []*restoreRunner
	for op, r := range a.restores {
		if op != p.Op {
			earlier = append(earlier, r)
		}
	}
	a.mu.Unlock()
	var reasons []snapline.Reason
	for _, r := range earlier {
		r.mu.Lock()
		same := r.group == p.Group.Name
		r.mu.Unlock()
		if same {
			reasons = append(reasons, r.kill(ctx)...)
		}
	}
	return reasons
}

// loaded lists the restores that have machines here which were not let run.
func (a *Agent) loaded() (ops []snapline.OperationID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for op, r := range a.restores {
		if r.holds.Load() {
			ops = append(ops, op)
		}
	}
	return ops
}

// restoresOver gives up what restores have loaded here that have ended without
// this host.
func (a *Agent) restoresOver(ctx context.Context, ops []snapline.OperationID) {
	for _, op := range ops {
		a.mu.Lock()
		r := a.restores[op]
		a.mu.Unlock()
		if r == nil || !r.ending.CompareAndSwap(false, true) {
			continue
		}
		a.Log.Warn("the restore has ended without this host: ending what it has loaded here", "operation", op)
		a.running.Go(func() {
			defer r.ending.Store(false)
			for _, reason := range r.kill(ctx) {
				a.Log.Error("end what a restore has loaded", "operation", op, "error", reason)
			}
		})
	}
}

func (r *restoreRunner) effect(e protocol.Effect) error {
	switch e := e.(type) {
	case protocol.RestoreSend:
		return r.agent.send(e.Msg)
	case protocol.Act:
		r.work.Go(func() {
			done := protocol.Acted{Op: e.Op, Phase: e.Phase}
			r.act(r.agent.ctx, e, &done)
			r.loop.post(done)
		})
		return nil
	}
	panic(fmt.Sprintf("node: unknown effect %T", e))
}

func (r *restoreRunner) act(ctx context.Context, e protocol.Act, done *protocol.Acted) {
	if err := r.agent.turn.begin(e.Op, e.Phase); err != nil {
		if e.Phase == protocol.RestoreUndo {
			done.Reasons = r.kill(ctx) // what is ours alone
			return
		}
		done.Reasons = []snapline.Reason{r.reason("", err)}
		return
	}
	defer r.agent.turn.end(e.Op)
	switch e.Phase {
	case protocol.RestorePlan:
		done.Reasons = r.plan(ctx, e.Plan)
	case protocol.RestoreStop:
		left := r.agent.endLoaded(ctx, e.Plan)
		done.Silent, done.Reasons = r.stop(ctx, e.Plan)
		done.Reasons = append(left, done.Reasons...)
		done.Coloured = r.agent.fences.stillColoured(e.Plan.Group.Name, e.Plan.Quarantine)
	case protocol.RestoreLoad:
		done.LoadMS, done.Reasons = r.load(ctx, e.Plan, e.Coloured)
	case protocol.RestoreOpen:
		since, reasons := r.open(ctx, e.Plan)
		done.AgoNS, done.Reasons = int64(r.agent.Clock.Now().Sub(since)), reasons
	case protocol.RestoreReplay:
		done.Packets, done.Reasons = r.replay(ctx, e.Plan)
	case protocol.RestoreUndo:
		// Members that were let go of already are ended too: after STOP every
		// instance is one that this restore has started.
		left := r.kill(ctx)
		_, reasons := r.stop(ctx, e.Plan)
		done.Reasons = append(left, reasons...)
	}
}

func (r *restoreRunner) reason(m snapline.MemberName, err error) snapline.Reason {
	return snapline.Reason{Member: m, Host: r.agent.Host, Text: err.Error(), Damaged: errors.Is(err, snapline.ErrDamaged)}
}

// plan finds everything that can be known before anything is stopped.
func (r *restoreRunner) plan(ctx context.Context, p protocol.PlanRestore) []snapline.Reason {
	gaps := r.agent.fences.planned()
	r.mu.Lock()
	r.gaps = gaps
	r.mu.Unlock()
	if len(p.Members) == 0 {
		return nil
	}
	repo, err := r.agent.repository()
	if err != nil {
		return []snapline.Reason{r.reason("", err)}
	}
	var reasons []snapline.Reason
	for _, part := range p.Members {
		spec := p.Group.Member(part.Name)
		if spec == nil {
			reasons = append(reasons, r.reason(part.Name, fmt.Errorf("the snapshot's group does not declare this member")))
			continue
		}
		for _, reason := range r.agent.Hypervisor.Plan(ctx, *spec, part.VM, part.Disks) {
			reason.Member, reason.Host = part.Name, r.agent.Host
			reasons = append(reasons, reason)
		}
		if !slices.Contains(p.Home, part.Name) {
			if err := r.free(ctx, *spec, part.VM); err != nil {
				reasons = append(reasons, r.reason(part.Name, err))
			}
		}
		if err := verifyMember(ctx, repo, p.Snapshot, part); err != nil {
			reasons = append(reasons, r.reason(part.Name, err))
		}
	}
	if p.Replay {
		reasons = append(reasons, r.readChannel(ctx, repo, p)...)
	}
	return reasons
}

// free refuses a monitor behind which another machine lives. One with the
// member's addresses is the member, and will be stopped.
func (r *restoreRunner) free(ctx context.Context, m snapline.Member, info snapline.VMInfo) error {
	vm, err := r.agent.Hypervisor.Adopt(ctx, m)
	if err != nil {
		return nil // nobody, or one that is too busy to say: loading will tell
	}
	other := vm.Info().NICs
	if err := vm.Close(); err != nil {
		return err
	}
	for _, n := range info.NICs {
		if slices.ContainsFunc(other, func(o snapline.NIC) bool { return strings.EqualFold(o.MAC, n.MAC) }) {
			return nil
		}
	}
	if len(info.NICs) == 0 || m.QEMU == nil {
		return nil // there is nothing to know it by
	}
	return fmt.Errorf("another machine lives behind %s on this host: choose another host, or end that one", m.QEMU.QMP)
}

func (r *restoreRunner) stop(ctx context.Context, p protocol.PlanRestore) (map[snapline.MemberName]protocol.Silence, []snapline.Reason) {
	var reasons []snapline.Reason
	var silent map[snapline.MemberName]protocol.Silence
	for _, m := range p.Group.Members {
		k, declared := memberKey{p.Group.Name, m.Name}, []snapline.Member{m}
		for _, now := range p.Also {
			if now.Name == m.Name {
				declared = append(declared, now)
			}
		}
		var macs []string
		if !slices.Contains(p.Home, m.Name) && !slices.ContainsFunc(p.Members, func(part snapline.MemberSnapshot) bool { return part.Name == m.Name }) {
			macs = append([]string{}, p.Addresses.MACs...)
		}
		if err := r.agent.fences.stop(ctx, k, macs, declared...); err != nil {
			reasons = append(reasons, r.reason(m.Name, err))
			continue
		}
		if s, silenced := r.agent.fences.stopped(k); silenced {
			if silent == nil {
				silent = map[snapline.MemberName]protocol.Silence{}
			}
			silent[m.Name] = s
		}
	}
	return silent, reasons
}

// load starts all members paused, side by side.
func (r *restoreRunner) load(ctx context.Context, p protocol.PlanRestore, coloured bool) (map[snapline.MemberName]float64, []snapline.Reason) {
	r.mu.Lock()
	r.group = p.Group.Name
	r.mu.Unlock()
	took := map[snapline.MemberName]float64{}
	var reasons []snapline.Reason
	var all errgroup.Group
	for _, part := range p.Members {
		all.Go(func() error {
			began := time.Now()
			err := r.loadOne(ctx, p, part, coloured)
			r.mu.Lock()
			defer r.mu.Unlock()
			if err != nil {
				reasons = append(reasons, r.reason(part.Name, err))
			}
			took[part.Name] = float64(time.Since(began).Microseconds()) / 1000
			return nil
		})
	}
	_ = all.Wait() // the errors are in reasons
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(reasons) == 0 {
		reasons = r.plug(ctx)
	}
	r.lapse = time.AfterFunc(loadedLimit, func() { r.kill(context.Background()) })
	return took, reasons
}

func (r *restoreRunner) loadOne(ctx context.Context, p protocol.PlanRestore, part snapline.MemberSnapshot, coloured bool) error {
	repo, err := r.agent.repository()
	if err != nil {
		return err
	}
	stream, err := repo.Open(ctx, p.Snapshot, part.Name, part.Object)
	if err != nil {
		return err
	}
	defer stream.Close()
	var passed atomic.Int64
	total := part.Object.RawBytes
	for _, d := range part.Disks {
		total += d.Size
	}
	stop := r.report(ctx, p.Op, part.Name, "loading", total, passed.Load)
	defer stop()
	vm, err := r.agent.Hypervisor.Load(ctx, *p.Group.Member(part.Name), part.VM, &countingReader{stream, &passed},
		storedDisks(repo, p.Snapshot, part, func(n int64) { passed.Add(n) }))
	if err != nil {
		return err
	}
	nics := vm.Info().NICs
	r.mu.Lock()
	r.loaded[part.Name], r.nics[part.Name] = vm, nics
	r.holds.Store(true)
	r.mu.Unlock()
	// First the fence, then the network: nothing of the old timeline may wait in a
	// tap's queue for the member to be let run.
	return r.agent.fences.shutIn(ctx, p, part.Name, nics, coloured)
}

// plug connects the loaded members to the network, as late as the phases allow,
// and makes it look for them here: those that run first send to the others at once,
// and what finds no tap is lost.
func (r *restoreRunner) plug(ctx context.Context) []snapline.Reason {
	var reasons []snapline.Reason
	for name, vm := range r.loaded {
		if err := vm.Plug(ctx); err != nil {
			reasons = append(reasons, r.reason(name, err))
			continue
		}
		if err := r.agent.Gates.Announce(ctx, r.nics[name]); err != nil {
			r.agent.Log.Warn("announce", "member", name, "error", err)
		}
	}
	return reasons
}

// open lets all members run, then makes them known to the network, and lets go
// of them. It returns when the last one was resumed.
func (r *restoreRunner) open(ctx context.Context, p protocol.PlanRestore) (snapline.Instant, []snapline.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lapse.Stop()
	var reasons []snapline.Reason
	for _, part := range p.Members {
		if r.loaded[part.Name] == nil { // another host took so long to load that ours has lapsed
			reasons = append(reasons, r.reason(part.Name, errors.New("it was loaded, waited too long for the others, and was ended")))
		}
	}
	if len(reasons) > 0 {
		return r.agent.Clock.Now(), reasons
	}
	for name, vm := range r.loaded {
		if err := r.agent.fences.letRun(p, name, r.gaps); err != nil {
			reasons = append(reasons, r.reason(name, err))
			continue
		}
		if err := vm.Resume(ctx); err != nil {
			reasons = append(reasons, r.reason(name, err))
		}
	}
	since := r.agent.Clock.Now()
	if len(reasons) > 0 {
		return since, reasons // still ours to undo
	}
	for name, vm := range r.loaded {
		if err := vm.Announce(ctx); err != nil {
			r.agent.Log.Warn("announce", "member", name, "error", err)
		}
		if err := vm.Close(); err != nil {
			r.agent.Log.Warn("let go of vm", "member", name, "error", err)
		}
		delete(r.loaded, name)
	}
	r.holds.Store(len(r.loaded) > 0)
	return since, nil
}

// kill ends what was loaded and not let go of.
func (r *restoreRunner) kill(ctx context.Context) []snapline.Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lapse != nil {
		r.lapse.Stop()
	}
	var reasons []snapline.Reason
	for name, vm := range r.loaded {
		if err := vm.Kill(ctx); err != nil {
			reasons = append(reasons, r.reason(name, err))
			continue
		}
		_ = vm.Close() // its process is gone
		r.agent.fences.stopped(memberKey{r.group, name})
		delete(r.loaded, name)
	}
	r.holds.Store(len(r.loaded) > 0)
	return reasons
}
