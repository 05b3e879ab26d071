package api

import (
	"context"
	"iter"

	"github.com/snapline/snapline"
)

// Service is what a coordinator does for its users. Every method may be called
// from several goroutines. Errors are *snapline.Error, or wrap one; the code
// says which kind. Package apitest holds the conformance suite.
type Service interface {
	// Hosts lists every agent that ever joined, sorted by name.
	Hosts(ctx context.Context) ([]snapline.HostStatus, error)

	// Doctor has every online agent examine its host and says what it found, in
	// order of hosts. With a group it looks at the members and at the paths
	// between them instead, with marked frames of its own, and keeps other
	// operations off the group meanwhile: CodeNotFound, CodeBusy. It changes
	// nothing. What is wrong is a finding, not an error. Takes some seconds.
	Doctor(ctx context.Context, g snapline.GroupName) ([]snapline.Finding, error)

	// Apply declares a group, or replaces its declaration; applying the same
	// group again changes nothing. CodeInvalid with all reasons when the group
	// makes no sense, CodeBusy while an operation on it runs.
	Apply(ctx context.Context, g snapline.Group) (snapline.GroupStatus, error)
	// Groups lists the declared groups, sorted by name.
	Groups(ctx context.Context) ([]snapline.GroupStatus, error)
	// Status asks the members' agents how they are: CodeNotFound when there is
	// no such group. An agent that does not answer is a status, not an error.
	Status(ctx context.Context, g snapline.GroupName) (snapline.GroupStatus, error)

	// Protect takes a snapshot of the group at every interval and brings the group
	// back by itself when a host is lost; for a protected group it changes how.
	// CodeNotFound, CodeInvalid with all reasons.
	Protect(ctx context.Context, r snapline.ProtectRequest) (snapline.GroupStatus, error)
	// Unprotect ends that: CodeNotFound when there is no such group or it is not
	// protected, CodeBusy while it is being restored.
	Unprotect(ctx context.Context, g snapline.GroupName) error
	// Recover starts to bring a group back from its last snapshot on the hosts that
	// remain, and returns at once. CodeNotFound; CodeInvalid when a host that is
	// said to be dead is not; CodeRefused with all reasons when there is no
	// snapshot, no room, a member that may be running where nobody can be asked,
	// or nothing to recover; CodeBusy.
	Recover(ctx context.Context, r snapline.RecoverRequest) (snapline.Operation, error)
	// PlanRecovery says what Recover would do now, and changes nothing. What stands
	// in the way are the plan's reasons; errors are Recover's others.
	PlanRecovery(ctx context.Context, r snapline.RecoverRequest) (snapline.RecoveryPlan, error)

	// Drain starts to give a host back: its groups are snapshotted and restored
	// without it, and it gets no more members. It returns at once. CodeNotFound,
	// CodeInvalid, CodeBusy while the host is being drained.
	Drain(ctx context.Context, r snapline.DrainRequest) (snapline.Operation, error)
	// Undrain lets a host have members again; one that is not drained is no error.
	// CodeNotFound, CodeBusy while it is being drained.
	Undrain(ctx context.Context, h snapline.HostName) error

	// Take starts a snapshot and returns at once; Progress follows it.
	// CodeNotFound, CodeInvalid (no such strategy), CodeBusy. What the members
	// find while preparing is the operation's error, not Take's.
	Take(ctx context.Context, r snapline.TakeRequest) (snapline.Operation, error)
	// Restore starts to bring a group back and returns at once. CodeNotFound,
	// CodeInvalid (Place names a member that the snapshot has not), CodeBusy.
	Restore(ctx context.Context, r snapline.RestoreRequest) (snapline.Operation, error)

	// Operation returns how an operation stands: CodeNotFound when it is
	// unknown or long over.
	Operation(ctx context.Context, id snapline.OperationID) (snapline.Operation, error)
	// Cancel asks a running operation to abort and returns at once; the
	// operation ends with CodeCancelled. Cancelling one that has ended, or twice,
	// is no error and changes nothing. CodeNotFound; CodeRefused for a restore
	// that has gone too far to be undone.
	Cancel(ctx context.Context, id snapline.OperationID) error
	// Progress replays the steps with an ID above after, then yields new ones as
	// they happen. The sequence ends after the step with Done, or when ctx ends;
	// after that Operation has the result. It is to be ranged over once, by one
	// goroutine. CodeNotFound as for Operation.
	Progress(ctx context.Context, id snapline.OperationID, after uint64) (iter.Seq[snapline.Progress], error)

	// Events lists what happened, oldest first: to one group ("": to all groups
	// and hosts), after the event of the given ID. Only the latest some hundred
	// events are kept; a group that is unknown has none.
	Events(ctx context.Context, g snapline.GroupName, after uint64) ([]snapline.Event, error)
	// FollowEvents yields the events with an ID above after, then new ones as they
	// happen, until ctx ends. It is to be ranged over once, by one goroutine.
	FollowEvents(ctx context.Context, after uint64) (iter.Seq[snapline.Event], error)

	// Snapshots lists the committed snapshots of one group ("": of all), oldest
	// first. A group without snapshots, or unknown, has an empty list.
	Snapshots(ctx context.Context, g snapline.GroupName) ([]snapline.Snapshot, error)
	// Snapshot returns one record: CodeNotFound, CodeDamaged.
	Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error)
	// Delete removes a snapshot's record and data: CodeNotFound, CodeBusy while
	// it is being restored. Its space comes back with Prune.
	Delete(ctx context.Context, id snapline.SnapshotID) error

	// RepositoryInfo says where the snapshots are kept.
	RepositoryInfo(ctx context.Context) (snapline.RepositoryInfo, error)
	// Prune starts to delete the snapshots that the request does not keep, and to
	// free the space of all that were deleted, and returns at once. It waits for
	// rounds and restores that are under way. CodeNotFound (no such group),
	// CodeInvalid (a group without anything to keep, negative numbers), CodeBusy
	// while another operation on the repository runs, CodeRefused when the
	// repository needs none.
	Prune(ctx context.Context, r snapline.PruneRequest) (snapline.Operation, error)
	// Repair starts to make the repository's indexes anew, as Prune does.
	Repair(ctx context.Context) (snapline.Operation, error)
}
