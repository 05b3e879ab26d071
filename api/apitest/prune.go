package apitest

import (
	"context"
	"fmt"

	"github.com/snapline/snapline"
)

func (f *Fake) RepositoryInfo(context.Context) (snapline.RepositoryInfo, error) {
	return f.opts.Repository, nil
}

func (f *Fake) Prune(_ context.Context, r snapline.PruneRequest) (snapline.Operation, error) {
	switch {
	case r.Keep.Last < 0 || r.Keep.Hourly < 0 || r.Keep.Daily < 0:
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: "a number of snapshots to keep is negative"}
	case r.Group != "" && r.Keep == snapline.KeepPolicy{}:
		return snapline.Operation{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("which snapshots of %s are to be kept?", r.Group)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Group != "" && f.groups[r.Group] == nil {
		return snapline.Operation{}, notFound("group", string(r.Group))
	}
	if f.pruning != nil {
		return snapline.Operation{}, f.repositoryBusy()
	}
	return f.start(&f.pruning, snapline.Operation{Kind: "prune", Group: r.Group}, func(ctx context.Context, o *operation) error {
		return f.prune(ctx, o, r)
	}), nil
}

func (f *Fake) Repair(context.Context) (snapline.Operation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pruning != nil {
		return snapline.Operation{}, f.repositoryBusy()
	}
	return f.start(&f.pruning, snapline.Operation{Kind: "repair"}, func(ctx context.Context, o *operation) error {
		if err := f.alone(ctx, o); err != nil {
			return err
		}
		if err := f.step(ctx, o, snapline.Progress{Phase: "repair"}); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		o.op.Repair = &snapline.RepairResult{Packs: 5 * len(f.snapshots), DurationMS: 12.5}
		return nil
	}), nil
}

// repositoryBusy is called with mu held.
func (f *Fake) repositoryBusy() error {
	return &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("the repository is busy: %s is under way", f.pruning.op.ID), Hint: "wait until it has ended"}
}

func (f *Fake) prune(ctx context.Context, o *operation, r snapline.PruneRequest) error {
	result := &snapline.PruneResult{DryRun: r.DryRun, Deleted: []snapline.SnapshotID{}, DurationMS: 40.5}
	all, _ := f.Snapshots(ctx, r.Group)
	for _, s := range r.Remove(all) {
		result.Deleted = append(result.Deleted, s.ID)
		if r.DryRun {
			continue
		}
		if err := f.step(ctx, o, snapline.Progress{Phase: "delete", Text: string(s.ID)}); err != nil {
			return err
		}
		if err := f.Delete(ctx, s.ID); err != nil {
			return err
		}
	}
	if r.Keep != (snapline.KeepPolicy{}) {
		result.Kept = len(all) - len(result.Deleted)
	}
	phase := "look"
	if !r.DryRun {
		if err := f.alone(ctx, o); err != nil {
			return err
		}
		phase = "prune"
	}
	if err := f.step(ctx, o, snapline.Progress{Phase: phase}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	unused := f.deleted
	if r.DryRun {
		unused += len(result.Deleted)
	} else {
		f.deleted = 0
	}
	result.Space = snapline.PruneReport{Packs: 5 * (len(f.snapshots) + f.deleted), Bytes: int64(len(f.snapshots)+unused) * stored,
		PacksDeleted: 5 * unused, BytesDeleted: int64(unused) * stored}
	o.op.Prune = result
	return nil
}

// alone waits until no group has an operation.
func (f *Fake) alone(ctx context.Context, o *operation) error {
	said := false
	for {
		f.mu.Lock()
		var other *operation
		for _, g := range f.groups {
			if g.running != nil {
				other = g.running
			}
		}
		var changed chan struct{}
		what := ""
		if other != nil {
			changed, what = other.changed, fmt.Sprintf("for %s", other.op.ID)
		}
		f.mu.Unlock()
		if other == nil {
			return ctx.Err()
		}
		if !said {
			said = true
			if err := f.step(ctx, o, snapline.Progress{Phase: "wait", Text: what}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
