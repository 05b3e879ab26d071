package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

// routes binds a Service's methods to paths. Handlers only carry values.
type routes struct {
	svc     Service
	version Version
	trust   Trust
}

type groupPath struct {
	Group snapline.GroupName `path:"group" doc:"Name of a group."`
}

type snapshotPath struct {
	Snapshot snapline.SnapshotID `path:"snapshot" doc:"Id of a snapshot (GROUP-NUMBER)."`
}

type operationPath struct {
	Operation snapline.OperationID `path:"operation" doc:"Id of an operation."`
}

type applyInput struct {
	Group snapline.GroupName `path:"group" doc:"Name of a group."`
	Body  snapline.Group
}

type takeInput struct{ Body snapline.TakeRequest }

type listInput struct {
	Group snapline.GroupName `query:"group" doc:"Only this group's snapshots."`
}

type doctorInput struct {
	Group snapline.GroupName `query:"group" doc:"Look at this group's members and the paths between them, not at the hosts."`
}

// restoreBody is a RestoreRequest whose snapshot is in the path.
type restoreBody struct {
	Place         map[snapline.MemberName]snapline.HostName `json:"place,omitempty" doc:"Host for each member that is not to run where it was captured."`
	ReplayChannel snapline.Replay                           `json:"replay_channel,omitempty" enum:"complete,known" doc:"Deliver the packets that were in transit once all members run: complete refuses when they are not all known, known delivers what is."`
}

type restoreInput struct {
	Snapshot snapline.SnapshotID `path:"snapshot" doc:"Id of a snapshot (GROUP-NUMBER)."`
	Body     *restoreBody
}

type pruneInput struct{ Body snapline.PruneRequest }

func (r routes) register(api huma.API) {
	get := func(id, path, summary string) huma.Operation { return op(id, http.MethodGet, path, summary, 0) }
	huma.Register(api, get("version", "/v1/version", "Program and formats"),
		func(context.Context, *struct{}) (*body[Version], error) { return out(r.version, nil) })
	huma.Register(api, get("hosts", "/v1/hosts", "List the hosts and their agents"),
		func(ctx context.Context, _ *struct{}) (*body[[]snapline.HostStatus], error) {
			return list(r.svc.Hosts(ctx))
		})
	huma.Register(api, op("doctor", http.MethodPost, "/v1/doctor", "Examine the hosts, or a group", 0),
		func(ctx context.Context, in *doctorInput) (*body[[]snapline.Finding], error) {
			return list(r.svc.Doctor(ctx, in.Group))
		})
	r.registerGroups(api, get)
	r.registerSnapshots(api, get)
	r.registerOperations(api, get)
	r.registerRepository(api, get)
	r.registerTrust(api, get)
	r.registerEvents(api, get)
	r.registerProtection(api, get)
}

func (r routes) registerGroups(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, get("groups", "/v1/groups", "List the groups"),
		func(ctx context.Context, _ *struct{}) (*body[[]snapline.GroupStatus], error) {
			return list(r.svc.Groups(ctx))
		})
	huma.Register(api, get("status", "/v1/groups/{group}", "Show a group and its members as they are now"),
		func(ctx context.Context, in *groupPath) (*body[snapline.GroupStatus], error) {
			return out(r.svc.Status(ctx, in.Group))
		})
	huma.Register(api, op("apply", http.MethodPut, "/v1/groups/{group}", "Declare a group", 0),
		func(ctx context.Context, in *applyInput) (*body[snapline.GroupStatus], error) {
			if err := checkApply(in.Group, in.Body); err != nil {
				return nil, NewProblem(err)
			}
			return out(r.svc.Apply(ctx, in.Body))
		})
}

func (r routes) registerSnapshots(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, get("list", "/v1/snapshots", "List the snapshots, oldest first"),
		func(ctx context.Context, in *listInput) (*body[[]snapline.Snapshot], error) {
			return list(r.svc.Snapshots(ctx, in.Group))
		})
	huma.Register(api, get("show", "/v1/snapshots/{snapshot}", "Show a snapshot"),
		func(ctx context.Context, in *snapshotPath) (*body[snapline.Snapshot], error) {
			return out(r.svc.Snapshot(ctx, in.Snapshot))
		})
	huma.Register(api, op("delete", http.MethodDelete, "/v1/snapshots/{snapshot}", "Delete a snapshot", http.StatusNoContent),
		func(ctx context.Context, in *snapshotPath) (*struct{}, error) {
			return empty(r.svc.Delete(ctx, in.Snapshot))
		})
	huma.Register(api, op("take", http.MethodPost, "/v1/snapshots", "Start to take a snapshot", http.StatusAccepted),
		func(ctx context.Context, in *takeInput) (*body[snapline.Operation], error) {
			o, err := r.svc.Take(ctx, in.Body)
			return began(ctx, o, err)
		})
	huma.Register(api, op("restore", http.MethodPost, "/v1/snapshots/{snapshot}/restore", "Start to restore a snapshot", http.StatusAccepted),
		func(ctx context.Context, in *restoreInput) (*body[snapline.Operation], error) {
			req := snapline.RestoreRequest{Snapshot: in.Snapshot}
			if in.Body != nil {
				req.Place, req.ReplayChannel = in.Body.Place, in.Body.ReplayChannel
			}
			o, err := r.svc.Restore(ctx, req)
			return began(ctx, o, err)
		})
}

func (r routes) registerOperations(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, get("operation", "/v1/operations/{operation}", "Show an operation, running or done"),
		func(ctx context.Context, in *operationPath) (*body[snapline.Operation], error) {
			return out(r.svc.Operation(ctx, in.Operation))
		})
	huma.Register(api, op("cancel", http.MethodDelete, "/v1/operations/{operation}", "Ask an operation to abort", http.StatusAccepted),
		func(ctx context.Context, in *operationPath) (*struct{}, error) {
			return empty(r.svc.Cancel(ctx, in.Operation))
		})
	huma.Register(api, r.progressOperation(api), r.progress)
}

func (r routes) registerRepository(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, get("repository", "/v1/repository", "Show which repository the snapshots are in"),
		func(ctx context.Context, _ *struct{}) (*body[snapline.RepositoryInfo], error) {
			return out(r.svc.RepositoryInfo(ctx))
		})
	huma.Register(api, op("prune", http.MethodPost, "/v1/repository/prune", "Start to delete old snapshots and to free space", http.StatusAccepted),
		func(ctx context.Context, in *pruneInput) (*body[snapline.Operation], error) {
			o, err := r.svc.Prune(ctx, in.Body)
			return began(ctx, o, err)
		})
	huma.Register(api, op("repair", http.MethodPost, "/v1/repository/repair", "Start to make the repository's indexes anew", http.StatusAccepted),
		func(ctx context.Context, _ *struct{}) (*body[snapline.Operation], error) {
			o, err := r.svc.Repair(ctx)
			return began(ctx, o, err)
		})
}

// op describes one operation; status 0 is huma's default, 200. The body's size
// and time limits are protect's.
func op(id, method, path, summary string, status int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, DefaultStatus: status,
		MaxBodyBytes: maxBody, BodyReadTimeout: -1}
}
