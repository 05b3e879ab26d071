package apitest

import (
	"context"
	"fmt"
	"slices"

	"github.com/snapline/snapline"
)

func (f *Fake) Protect(_ context.Context, r snapline.ProtectRequest) (snapline.GroupStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[r.Group]
	if g == nil {
		return snapline.GroupStatus{}, notFound("group", string(r.Group))
	}
	if bad := r.Problems(); bad != nil {
		return snapline.GroupStatus{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("group %s cannot be protected like this", r.Group), Reasons: bad}
	}
	next := f.opts.Now().Add(r.Every())
	g.protection = &snapline.Protection{EveryMS: r.EveryMS, MaxLossMS: float64(r.MaxLoss().Milliseconds()), Keep: r.Keep, Since: f.opts.Now(), State: snapline.ProtectionOK, NextAt: &next}
	f.happened(snapline.Event{Kind: snapline.EventProtected, Group: r.Group, Text: fmt.Sprintf("group %s is protected", r.Group)})
	return f.status(g), nil
}

func (f *Fake) Unprotect(_ context.Context, name snapline.GroupName) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[name]
	if g == nil {
		return notFound("group", string(name))
	}
	if g.protection == nil {
		return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("group %s is not protected", name)}
	}
	g.protection = nil
	f.happened(snapline.Event{Kind: snapline.EventUnprotected, Group: name, Text: fmt.Sprintf("group %s is no longer protected", name)})
	return nil
}

// plan is called with mu held. The Fake's hosts have room for everything; lost
// are hosts in the group that are not the Fake's.
func (f *Fake) plan(r snapline.RecoverRequest) (snapline.RecoveryPlan, error) {
	g := f.groups[r.Group]
	if g == nil {
		return snapline.RecoveryPlan{}, notFound("group", string(r.Group))
	}
	for _, h := range r.Dead {
		if slices.Contains(f.opts.Hosts, h) {
			return snapline.RecoveryPlan{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("host %s is not dead", h)}
		}
	}
	p := snapline.RecoveryPlan{Group: r.Group, Place: map[snapline.MemberName]snapline.HostName{}}
	for _, s := range f.snapshots {
		if s.Group.Name == r.Group {
			p.Snapshot, p.TakenAt = s.ID, s.TakenAt
		}
	}
	if p.Snapshot == "" {
		return p, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("group %s has no snapshot to go back to", r.Group)}
	}
	for _, m := range g.declared.Members {
		p.Place[m.Name] = g.place[m.Name]
		if f.drained[p.Place[m.Name]] || !slices.Contains(f.opts.Hosts, p.Place[m.Name]) {
			p.Lost = append(p.Lost, p.Place[m.Name])
			p.Place[m.Name] = f.opts.Hosts[0]
		}
	}
	return p, nil
}

func (f *Fake) PlanRecovery(_ context.Context, r snapline.RecoverRequest) (snapline.RecoveryPlan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan(r)
}

func (f *Fake) Recover(ctx context.Context, r snapline.RecoverRequest) (snapline.Operation, error) {
	f.mu.Lock()
	p, err := f.plan(r)
	f.mu.Unlock()
	if err != nil {
		return snapline.Operation{}, err
	}
	if len(p.Lost) == 0 {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("there is nothing to recover: all members of %s run", r.Group)}
	}
	return f.Restore(ctx, snapline.RestoreRequest{Snapshot: p.Snapshot, Place: p.Place})
}

func (f *Fake) Drain(_ context.Context, r snapline.DrainRequest) (snapline.Operation, error) {
	if r.Deadline() <= 0 {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("deadline %v: it must be above zero", r.Deadline())}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.opts.Hosts, r.Host) {
		return snapline.Operation{}, notFound("host", string(r.Host))
	}
	if f.draining != nil {
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeBusy, Message: "a host is being drained already"}
	}
	f.drained[r.Host] = true
	return f.start(&f.draining, snapline.Operation{Kind: "drain"}, func(ctx context.Context, o *operation) error {
		return f.drain(ctx, o, r.Host)
	}), nil
}

// drain moves everything to the first host that is left.
func (f *Fake) drain(ctx context.Context, o *operation, h snapline.HostName) error {
	result := &snapline.DrainResult{Host: h, Moved: []snapline.MovedGroup{}, DurationMS: 8120.5}
	f.mu.Lock()
	to := f.opts.Hosts[slices.IndexFunc(f.opts.Hosts, func(o snapline.HostName) bool { return !f.drained[o] })]
	var moving []*group
	for _, g := range f.groups {
		for _, at := range g.place {
			if at == h {
				moving = append(moving, g)
				break
			}
		}
	}
	f.mu.Unlock()
	for _, g := range moving {
		name := g.declared.Name
		for _, phase := range []string{"snapshot", "restore"} {
			if err := f.step(ctx, o, snapline.Progress{Phase: phase, Text: string(name)}); err != nil {
				return err
			}
		}
		f.mu.Lock()
		moved := snapline.MovedGroup{Group: name, Place: map[snapline.MemberName]snapline.HostName{}}
		g.round++
		moved.Snapshot = snapline.NewSnapshotID(name, g.round)
		for _, m := range g.declared.Members {
			if g.place[m.Name] == h {
				g.place[m.Name] = to
			}
			moved.Place[m.Name] = g.place[m.Name]
		}
		result.Moved = append(result.Moved, moved)
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o.op.Drain = result
	return nil
}

func (f *Fake) Undrain(_ context.Context, h snapline.HostName) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.opts.Hosts, h) {
		return notFound("host", string(h))
	}
	delete(f.drained, h)
	return nil
}
