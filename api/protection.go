package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

// protectBody is a ProtectRequest whose group is in the path.
type protectBody struct {
	EveryMS   float64             `json:"every_ms" doc:"Time from one snapshot's beginning to the next one's."`
	Keep      snapline.KeepPolicy `json:"keep,omitzero" doc:"Which of the protection's own snapshots stay; all of them without any rule."`
	MaxLossMS float64             `json:"max_loss_ms,omitempty" doc:"How old the last snapshot may be before the protection is late; 0 is twice every_ms."`
}

type protectInput struct {
	Group snapline.GroupName `path:"group" doc:"Name of a group."`
	Body  protectBody
}

type recoverInput struct {
	Group snapline.GroupName  `path:"group" doc:"Name of a group."`
	Dead  []snapline.HostName `query:"dead" doc:"Hosts that are known to be off."`
}

func (in recoverInput) request() snapline.RecoverRequest {
	return snapline.RecoverRequest{Group: in.Group, Dead: in.Dead}
}

// drainBody is a DrainRequest whose host is in the path.
type drainBody struct {
	DeadlineMS float64 `json:"deadline_ms,omitempty" doc:"When the host is given back at the latest; 0 is a minute."`
}

type drainInput struct {
	Host snapline.HostName `path:"host" doc:"Name of a host."`
	Body *drainBody
}

type hostPath struct {
	Host snapline.HostName `path:"host" doc:"Name of a host."`
}

func (r routes) registerProtection(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, op("protect", http.MethodPut, "/v1/groups/{group}/protection", "Protect a group: snapshots at an interval, and recovery", 0),
		func(ctx context.Context, in *protectInput) (*body[snapline.GroupStatus], error) {
			return out(r.svc.Protect(ctx, snapline.ProtectRequest{Group: in.Group, EveryMS: in.Body.EveryMS, Keep: in.Body.Keep, MaxLossMS: in.Body.MaxLossMS}))
		})
	huma.Register(api, op("unprotect", http.MethodDelete, "/v1/groups/{group}/protection", "End a group's protection", http.StatusNoContent),
		func(ctx context.Context, in *groupPath) (*struct{}, error) {
			return empty(r.svc.Unprotect(ctx, in.Group))
		})
	huma.Register(api, get("plan-recovery", "/v1/groups/{group}/recovery", "Show what a recovery would do now"),
		func(ctx context.Context, in *recoverInput) (*body[snapline.RecoveryPlan], error) {
			return out(r.svc.PlanRecovery(ctx, in.request()))
		})
	huma.Register(api, op("recover", http.MethodPost, "/v1/groups/{group}/recovery", "Start to bring a group back from its last snapshot, on the hosts that remain", http.StatusAccepted),
		func(ctx context.Context, in *recoverInput) (*body[snapline.Operation], error) {
			return out(r.svc.Recover(ctx, in.request()))
		})
	huma.Register(api, op("drain", http.MethodPut, "/v1/hosts/{host}/drain", "Start to give a host back to its owner", http.StatusAccepted),
		func(ctx context.Context, in *drainInput) (*body[snapline.Operation], error) {
			req := snapline.DrainRequest{Host: in.Host}
			if in.Body != nil {
				req.DeadlineMS = in.Body.DeadlineMS
			}
			return out(r.svc.Drain(ctx, req))
		})
	huma.Register(api, op("undrain", http.MethodDelete, "/v1/hosts/{host}/drain", "Let a host have members again", http.StatusNoContent),
		func(ctx context.Context, in *hostPath) (*struct{}, error) {
			return empty(r.svc.Undrain(ctx, in.Host))
		})
}
