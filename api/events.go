package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

type eventsInput struct {
	Group snapline.GroupName `query:"group" doc:"Only what is about this group."`
	After uint64             `query:"after" doc:"Only events with a greater id."`
}

type followEventsInput struct {
	After uint64 `header:"Last-Event-ID" doc:"Send only events with a greater id: what was read before the connection broke."`
}

func (r routes) registerEvents(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, get("events", "/v1/events", "List what happened, oldest first"),
		func(ctx context.Context, in *eventsInput) (*body[[]snapline.Event], error) {
			return list(r.svc.Events(ctx, in.Group, in.After))
		})
	follow := op("follow-events", http.MethodGet, "/v1/events/follow", "Follow what happens (server-sent events)", 0)
	follow.Description = "Replays the log, then sends each new event when it happens. A stream that breaks off can be continued with Last-Event-ID."
	describeStream(api, &follow, "The log", "event", reflect.TypeFor[snapline.Event]())
	huma.Register(api, follow, r.followEvents)
}

func (r routes) followEvents(ctx context.Context, in *followEventsInput) (*huma.StreamResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := r.svc.FollowEvents(ctx, in.After)
	if err != nil {
		cancel()
		return nil, NewProblem(err)
	}
	return streaming(ctx, cancel, events, func(e snapline.Event) uint64 { return e.ID }), nil
}
