package apitest

import (
	"context"
	"iter"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// Fault is a Service whose methods named in Errors ("Take", "Hosts", …) fail
// with that error; the others are Service's.
type Fault struct {
	api.Service
	Errors map[string]error
}

var _ api.Service = Fault{}

// call runs method unless it is to fail.
func call[T any](f Fault, name string, method func() (T, error)) (T, error) {
	if err := f.Errors[name]; err != nil {
		var none T
		return none, err
	}
	return method()
}

func (f Fault) Hosts(ctx context.Context) ([]snapline.HostStatus, error) {
	return call(f, "Hosts", func() ([]snapline.HostStatus, error) { return f.Service.Hosts(ctx) })
}

func (f Fault) Doctor(ctx context.Context, g snapline.GroupName) ([]snapline.Finding, error) {
	return call(f, "Doctor", func() ([]snapline.Finding, error) { return f.Service.Doctor(ctx, g) })
}

func (f Fault) Apply(ctx context.Context, g snapline.Group) (snapline.GroupStatus, error) {
	return call(f, "Apply", func() (snapline.GroupStatus, error) { return f.Service.Apply(ctx, g) })
}

func (f Fault) Groups(ctx context.Context) ([]snapline.GroupStatus, error) {
	return call(f, "Groups", func() ([]snapline.GroupStatus, error) { return f.Service.Groups(ctx) })
}

func (f Fault) Status(ctx context.Context, g snapline.GroupName) (snapline.GroupStatus, error) {
	return call(f, "Status", func() (snapline.GroupStatus, error) { return f.Service.Status(ctx, g) })
}

func (f Fault) Protect(ctx context.Context, r snapline.ProtectRequest) (snapline.GroupStatus, error) {
	return call(f, "Protect", func() (snapline.GroupStatus, error) { return f.Service.Protect(ctx, r) })
}

func (f Fault) Unprotect(ctx context.Context, g snapline.GroupName) error {
	_, err := call(f, "Unprotect", func() (struct{}, error) { return struct{}{}, f.Service.Unprotect(ctx, g) })
	return err
}

func (f Fault) Recover(ctx context.Context, r snapline.RecoverRequest) (snapline.Operation, error) {
	return call(f, "Recover", func() (snapline.Operation, error) { return f.Service.Recover(ctx, r) })
}

func (f Fault) PlanRecovery(ctx context.Context, r snapline.RecoverRequest) (snapline.RecoveryPlan, error) {
	return call(f, "PlanRecovery", func() (snapline.RecoveryPlan, error) { return f.Service.PlanRecovery(ctx, r) })
}

func (f Fault) Drain(ctx context.Context, r snapline.DrainRequest) (snapline.Operation, error) {
	return call(f, "Drain", func() (snapline.Operation, error) { return f.Service.Drain(ctx, r) })
}

func (f Fault) Undrain(ctx context.Context, h snapline.HostName) error {
	_, err := call(f, "Undrain", func() (struct{}, error) { return struct{}{}, f.Service.Undrain(ctx, h) })
	return err
}

func (f Fault) Take(ctx context.Context, r snapline.TakeRequest) (snapline.Operation, error) {
	return call(f, "Take", func() (snapline.Operation, error) { return f.Service.Take(ctx, r) })
}

func (f Fault) Restore(ctx context.Context, r snapline.RestoreRequest) (snapline.Operation, error) {
	return call(f, "Restore", func() (snapline.Operation, error) { return f.Service.Restore(ctx, r) })
}

func (f Fault) Operation(ctx context.Context, id snapline.OperationID) (snapline.Operation, error) {
	return call(f, "Operation", func() (snapline.Operation, error) { return f.Service.Operation(ctx, id) })
}

func (f Fault) Cancel(ctx context.Context, id snapline.OperationID) error {
	_, err := call(f, "Cancel", func() (struct{}, error) { return struct{}{}, f.Service.Cancel(ctx, id) })
	return err
}

func (f Fault) Progress(ctx context.Context, id snapline.OperationID, after uint64) (iter.Seq[snapline.Progress], error) {
	return call(f, "Progress", func() (iter.Seq[snapline.Progress], error) { return f.Service.Progress(ctx, id, after) })
}

func (f Fault) Events(ctx context.Context, g snapline.GroupName, after uint64) ([]snapline.Event, error) {
	return call(f, "Events", func() ([]snapline.Event, error) { return f.Service.Events(ctx, g, after) })
}

func (f Fault) FollowEvents(ctx context.Context, after uint64) (iter.Seq[snapline.Event], error) {
	return call(f, "FollowEvents", func() (iter.Seq[snapline.Event], error) { return f.Service.FollowEvents(ctx, after) })
}

func (f Fault) Snapshots(ctx context.Context, g snapline.GroupName) ([]snapline.Snapshot, error) {
	return call(f, "Snapshots", func() ([]snapline.Snapshot, error) { return f.Service.Snapshots(ctx, g) })
}

func (f Fault) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	return call(f, "Snapshot", func() (snapline.Snapshot, error) { return f.Service.Snapshot(ctx, id) })
}

func (f Fault) RepositoryInfo(ctx context.Context) (snapline.RepositoryInfo, error) {
	return call(f, "RepositoryInfo", func() (snapline.RepositoryInfo, error) { return f.Service.RepositoryInfo(ctx) })
}

func (f Fault) Prune(ctx context.Context, r snapline.PruneRequest) (snapline.Operation, error) {
	return call(f, "Prune", func() (snapline.Operation, error) { return f.Service.Prune(ctx, r) })
}

func (f Fault) Repair(ctx context.Context) (snapline.Operation, error) {
	return call(f, "Repair", func() (snapline.Operation, error) { return f.Service.Repair(ctx) })
}

func (f Fault) Delete(ctx context.Context, id snapline.SnapshotID) error {
	_, err := call(f, "Delete", func() (struct{}, error) { return struct{}{}, f.Service.Delete(ctx, id) })
	return err
}
