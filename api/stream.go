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
)

const (
	keepAlive     = 10 * time.Second // between comments on a quiet stream
	eventTimeout  = 10 * time.Second // for a client to take one event
	eventsType    = "text/event-stream"
	endEvent      = "end"
	lastEventID   = "Last-Event-ID"
	reconnectHint = 1000 // milliseconds; browsers' default is longer
)

// stream is one client's event stream. Only run's goroutine writes.
type stream[T any] struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	id func(T) uint64
}

// streaming is the answer that sends steps with their ids.
func streaming[T any](ctx context.Context, cancel context.CancelFunc, steps iter.Seq[T], id func(T) uint64) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		s := stream[T]{w: w, rc: http.NewResponseController(w), id: id}
		s.run(ctx, cancel, steps)
	}}
}

// describeStream documents a stream of values of a type.
func describeStream(api huma.API, o *huma.Operation, what, title string, of reflect.Type) {
	value := api.OpenAPI().Components.Schemas.Schema(of, true, "")
	event := func(title, name string, data *huma.Schema) *huma.Schema {
		return &huma.Schema{Title: title, Type: huma.TypeObject, Required: []string{"data"}, Properties: map[string]*huma.Schema{
			"id": {Type: huma.TypeInteger}, "event": {Type: huma.TypeString, Enum: []any{name}}, "data": data, "retry": {Type: huma.TypeInteger}}}
	}
	o.Responses = map[string]*huma.Response{"200": {
		Description: what + " as server-sent events (WHATWG HTML, section 9.2).",
		Content: map[string]*huma.MediaType{eventsType: {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{OneOf: []*huma.Schema{
			event(title, "message", value), event("end", endEvent, &huma.Schema{Type: huma.TypeObject})}}}}},
	}}
}

// run sends the steps until they end or the client goes, and leaves no
// goroutine behind: cancel makes steps end.
func (s stream[T]) run(ctx context.Context, cancel context.CancelFunc, steps iter.Seq[T]) {
	next := make(chan T)
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

func (s stream[T]) step(p T) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode step %d: %w", s.id(p), err)
	}
	return s.send("id: %d\ndata: %s\n\n", s.id(p), data)
}

// send writes one event and hands it to the network.
func (s stream[T]) send(format string, args ...any) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(eventTimeout)) // see protect
	if _, err := io.WriteString(s.w, fmt.Sprintf(format, args...)); err != nil {
		return err
	}
	return s.rc.Flush()
}
