package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/snapline/snapline"
)

const (
	keepAlive     = 10 * time.Second // between comments on a quiet stream
	eventTimeout  = 10 * time.Second // for a client to take one event
	eventsType    = "text/event-stream"
	endEvent      = "end"
	lastEventID   = "Last-Event-ID"
	reconnectHint = 1000 // milliseconds; browsers' default is longer
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
	step := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[snapline.Progress](), true, "")
	event := func(title, name string, data *huma.Schema) *huma.Schema {
		return &huma.Schema{Title: title, Type: huma.TypeObject, Required: []string{"data"}, Properties: map[string]*huma.Schema{
			"id": {Type: huma.TypeInteger}, "event": {Type: huma.TypeString, Enum: []any{name}}, "data": data, "retry": {Type: huma.TypeInteger}}}
	}
	o.Responses = map[string]*huma.Response{"200": {
		Description: "The steps as server-sent events (WHATWG HTML, section 9.2).",
		Content: map[string]*huma.MediaType{eventsType: {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{OneOf: []*huma.Schema{
			event("step", "message", step), event("end", endEvent, &huma.Schema{Type: huma.TypeObject})}}}}},
	}}
	return o
}

func (r routes) progress(ctx context.Context, in *progressInput) (*huma.StreamResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	steps, err := r.svc.Progress(ctx, in.Operation, in.After)
	if err != nil {
		cancel()
		return nil, NewProblem(err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		s := stream{w: w, rc: http.NewResponseController(w)}
		s.run(ctx, cancel, steps)
	}}, nil
}

// stream is one client's event stream. Only run's goroutine writes.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// run sends the steps until they end or the client goes, and leaves no
// goroutine behind: cancel makes steps end.
func (s stream) run(ctx context.Context, cancel context.CancelFunc, steps iter.Seq[snapline.Progress]) {
	next := make(chan snapline.Progress)
	go func() {
		defer close(next)
		for p := range steps {
			select {
			case next <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range next {
		}
	}()
	s.w.Header().Set("Content-Type", eventsType)
	s.w.Header().Set("Cache-Control", "no-store")
	s.w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	if s.send("retry: %d\n\n", reconnectHint) != nil {
		return
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		var err error
		select {
		case p, more := <-next:
			if !more {
				if ctx.Err() == nil {
					_ = s.send("event: %s\ndata: {}\n\n", endEvent) // the client may have gone
				}
				return
			}
			err = s.step(p)
		case <-tick.C:
			err = s.send(": keep-alive\n\n")
		}
		if err != nil {
			return
		}
	}
}

func (s stream) step(p snapline.Progress) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode step %d: %w", p.ID, err)
	}
	return s.send("id: %d\ndata: %s\n\n", p.ID, data)
}

// send writes one event and hands it to the network.
func (s stream) send(format string, args ...any) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(eventTimeout)) // see protect
	if _, err := io.WriteString(s.w, fmt.Sprintf(format, args...)); err != nil {
		return err
	}
	return s.rc.Flush()
}
