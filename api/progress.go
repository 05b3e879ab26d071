package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

type progressInput struct {
	Operation snapline.OperationID `path:"operation" doc:"Id of an operation."`
	After     uint64               `header:"Last-Event-ID" doc:"Send only steps with a greater id: what was read before the connection broke."`
}

// progressOperation documents the event stream. huma's sse package is not used
// because its streams can neither refuse with a status nor send comments.
func (r routes) progressOperation(api huma.API) huma.Operation {
	o := op("progress", http.MethodGet, "/v1/operations/{operation}/progress", "Follow an operation (server-sent events)", 0)
	o.Description = "Replays the operation's steps, then sends each new one when it happens. An event's id is the step's. " +
		"The event `end` says that there will be no more; a stream that breaks off without it can be continued with Last-Event-ID."
	describeStream(api, &o, "The steps", "step", reflect.TypeFor[snapline.Progress]())
	return o
}

func (r routes) progress(ctx context.Context, in *progressInput) (*huma.StreamResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	steps, err := r.svc.Progress(ctx, in.Operation, in.After)
	if err != nil {
		cancel()
		return nil, NewProblem(err)
	}
	return streaming(ctx, cancel, steps, func(p snapline.Progress) uint64 { return p.ID }), nil
}
