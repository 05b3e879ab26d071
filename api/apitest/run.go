package apitest

import (
	"context"
	"fmt"
	"slices"

	"github.com/snapline/snapline"
)

const (
	ram    = 512 << 20 // bytes of each made-up machine
	stored = 85 << 20
)

func (f *Fake) Take(_ context.Context, r snapline.TakeRequest) (snapline.Operation, error) {
	switch r.Strategy {
	case "":
		r.Strategy = snapline.Colour
	case snapline.Colour, snapline.Barrier:
	default:
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("strategy %q: use colour or barrier", r.Strategy)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[r.Group]
	if g == nil {
		return snapline.Operation{}, notFound("group", string(r.Group))
	}
	if g.running != nil {
		return snapline.Operation{}, busy(r.Group, g)
	}
	g.round++
	id := snapline.NewSnapshotID(r.Group, g.round)
	return f.start(&g.running, snapline.Operation{Kind: "take", Group: r.Group, Snapshot: id}, func(ctx context.Context, o *operation) error { return f.take(ctx, g, o, r) }), nil
}

// each tells one step of every member of the group.
func (f *Fake) each(ctx context.Context, o *operation, members []snapline.Member, p snapline.Progress) error {
	for _, m := range members {
		p.Member = m.Name
		if err := f.step(ctx, o, p); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fake) take(ctx context.Context, g *group, o *operation, r snapline.TakeRequest) error {
	members := g.declared.Members // Apply refuses to change it while we run
	for _, phase := range []struct{ name, step string }{{"prepare", ""}, {"probe", ""}, {"arm", "armed"}, {"cut", "cut"}, {"disarm", ""}, {"store", ""}} {
		if err := f.step(ctx, o, snapline.Progress{Phase: phase.name}); err != nil {
			return err
		}
		if phase.name == "prepare" && f.opts.Fail != nil {
			return f.opts.Fail
		}
		if phase.step != "" {
			if err := f.each(ctx, o, members, snapline.Progress{Step: phase.step}); err != nil {
				return err
			}
		}
	}
	for _, step := range []string{"capturing", "storing"} {
		for part := int64(1); part <= 4; part++ {
			if err := f.each(ctx, o, members, snapline.Progress{Step: step, Bytes: ram / 4 * part, Total: ram}); err != nil {
				return err
			}
		}
	}
	if err := f.each(ctx, o, members, snapline.Progress{Step: "stored"}); err != nil {
		return err
	}
	if err := f.hold(ctx, o); err != nil {
		return err
	}
	if err := f.step(ctx, o, snapline.Progress{Phase: "commit"}); err != nil {
		return err
	}
	f.commit(g, o, r)
	return nil
}

// commit makes the snapshot exist.
func (f *Fake) commit(g *group, o *operation, r snapline.TakeRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	snap := snapline.Snapshot{Format: snapline.SnapshotFormat, ID: o.op.Snapshot, Group: g.declared, Note: r.Note, TakenAt: f.opts.Now(),
		Cut: snapline.CutReport{Strategy: r.Strategy, DurationMS: 48.25, SkewMS: 3.5, Withheld: uint64(len(g.declared.Members)), Marked: 120}}
	result := snapline.TakeResult{ID: snap.ID, State: "committed", DurationMS: 9120.5, Cut: snap.Cut}
	for i, m := range g.declared.Members {
		part := snapline.MemberSnapshot{Name: m.Name, Host: g.place[m.Name],
			VM: snapline.VMInfo{Hypervisor: "qemu", Version: "7.2.22", Exec: "/usr/bin/qemu-system-x86_64", Args: []string{"-m", "512"}, Dir: "/",
				Machine: "pc-q35-7.2", Accel: "tcg", RAMBytes: ram, VCPUs: 1, NICs: []snapline.NIC{{ID: "net0", Tap: "tap0", Bridge: "br0", MAC: "52:54:00:00:00:01", Backend: "tap"}}},
			Capture:  snapline.CaptureReport{Method: f.opts.Method, Why: f.opts.Why, PauseMS: 4.25 + float64(i)},
			Counters: snapline.GateCounters{Out: 900, In: 850, Marked: 40, Withheld: 1},
			Object:   snapline.Object{Digest: fmt.Sprintf("%064x", i+1), RawBytes: ram, StoredBytes: stored}}
		snap.Members = append(snap.Members, part)
		result.Members = append(result.Members, snapline.TakeMember{Name: part.Name, Host: part.Host, Method: part.Capture.Method, Why: part.Capture.Why,
			PauseMS: part.Capture.PauseMS, RAMBytes: ram, StoredBytes: stored, Withheld: 1})
	}
	f.snapshots = append(f.snapshots, snap)
	o.op.Take = &result
}

func (f *Fake) Restore(_ context.Context, r snapline.RestoreRequest) (snapline.Operation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(r.Snapshot)
	if i < 0 {
		return snapline.Operation{}, notFound("snapshot", string(r.Snapshot))
	}
	snap := f.snapshots[i]
	if !slices.Contains([]snapline.Replay{snapline.ReplayNothing, snapline.ReplayComplete, snapline.ReplayKnown}, r.ReplayChannel) {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("replay of the channel %q: there are %q and %q", r.ReplayChannel, snapline.ReplayComplete, snapline.ReplayKnown)}
	}
	if bad := f.misplaced(snap, r); bad != nil {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("restore %s: the placement is not valid", snap.ID), Reasons: bad}
	}
	g := f.groups[snap.Group.Name]
	if g.running != nil {
		return snapline.Operation{}, busy(snap.Group.Name, g)
	}
	return f.start(&g.running, snapline.Operation{Kind: "restore", Group: snap.Group.Name, Snapshot: snap.ID}, func(ctx context.Context, o *operation) error { return f.restore(ctx, g, o, snap, r) }), nil
}

func (f *Fake) misplaced(snap snapline.Snapshot, r snapline.RestoreRequest) []snapline.Reason {
	var bad []snapline.Reason
	for m, h := range r.Place {
		if snap.Member(m) == nil {
			bad = append(bad, snapline.Reason{Member: m, Text: "the snapshot has no such member"})
		} else if !slices.Contains(f.opts.Hosts, h) {
			bad = append(bad, snapline.Reason{Member: m, Host: h, Text: "no agent of that name has joined"})
		}
	}
	return bad
}

func (f *Fake) restore(ctx context.Context, g *group, o *operation, snap snapline.Snapshot, r snapline.RestoreRequest) error {
	for _, phase := range []struct{ name, step string }{{"plan", "planned"}, {"stop", "stopped"}, {"load", ""}} {
		if err := f.step(ctx, o, snapline.Progress{Phase: phase.name}); err != nil {
			return err
		}
		if phase.name == "plan" && f.opts.Fail != nil {
			return f.opts.Fail
		}
		if phase.step != "" {
			if err := f.each(ctx, o, snap.Group.Members, snapline.Progress{Step: phase.step}); err != nil {
				return err
			}
		}
	}
	for part := int64(1); part <= 4; part++ {
		if err := f.each(ctx, o, snap.Group.Members, snapline.Progress{Step: "loading", Bytes: stored / 4 * part, Total: stored}); err != nil {
			return err
		}
	}
	if err := f.each(ctx, o, snap.Group.Members, snapline.Progress{Step: "loaded"}); err != nil {
		return err
	}
	if err := f.hold(ctx, o); err != nil {
		return err
	}
	if err := f.step(ctx, o, snapline.Progress{Phase: "open"}); err != nil {
		return err
	}
	if err := f.each(ctx, o, snap.Group.Members, snapline.Progress{Step: "running"}); err != nil {
		return err
	}
	if r.ReplayChannel != snapline.ReplayNothing {
		if err := f.step(ctx, o, snapline.Progress{Phase: "replay"}); err != nil {
			return err
		}
		if err := f.each(ctx, o, snap.Group.Members, snapline.Progress{Step: "replayed"}); err != nil {
			return err
		}
	}
	f.run(g, o, snap, r)
	return nil
}

// run lets the restored members go on.
func (f *Fake) run(g *group, o *operation, snap snapline.Snapshot, r snapline.RestoreRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	result := snapline.RestoreResult{ID: snap.ID, State: "running", DurationMS: 3050.75, SkewMS: 2.5}
	for _, m := range snap.Members {
		to, placed := r.Place[m.Name]
		if !placed {
			to = m.Host
		}
		g.place[m.Name] = to
		result.Members = append(result.Members, snapline.RestoreMember{Name: m.Name, From: m.Host, Host: to, LoadMS: 1400.25})
	}
	if r.ReplayChannel != snapline.ReplayNothing {
		packets := 9
		result.Replayed = &packets
	}
	o.op.Restore = &result
}
