package protocol

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// MaxMessage is the largest encoded message that Decode takes, in bytes.
const MaxMessage = 1 << 20

// kinds maps the name of each message on the wire to its type. It is only read.
var kinds = func() map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, v := range []any{Prepare{}, Probe{}, Arm{}, Cut{}, Disarm{}, Commit{}, Abort{},
		Prepared{}, Refused{}, Probed{}, Armed{}, CutDone{}, Disarmed{}, Stored{}, Aborted{},
		PlanRestore{}, StopMembers{}, LoadMembers{}, OpenMembers{}, ReplayChannel{}, UndoRestore{},
		Planned{}, Stopped{}, Loaded{}, Opened{}, Replayed{}, Undone{}, RestoreFailed{}} {
		t := reflect.TypeOf(v)
		m[t.Name()] = t
	}
	return m
}()

type envelope struct {
	Term uint64          `json:"term,omitempty"` // of the coordinator that gives the order
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body"`
}

// Encode writes a Message or RestoreMessage as JSON.
func Encode(msg any) ([]byte, error) { return EncodeOrder(0, msg) }

// EncodeOrder is Encode for a coordinator: the term, which grows with each one
// that takes the lead, lets agents tell its orders from those of one before it.
func EncodeOrder(term uint64, msg any) ([]byte, error) {
	t := reflect.TypeOf(msg)
	if t == nil || kinds[t.Name()] != t {
		return nil, fmt.Errorf("encode message: %T is not one", msg)
	}
	body, err := json.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t.Name(), err)
	}
	return json.Marshal(envelope{Term: term, Kind: t.Name(), Body: body})
}

// Decode reads what Encode wrote: a Message or a RestoreMessage.
func Decode(b []byte) (any, error) {
	msg, _, err := DecodeOrder(b)
	return msg, err
}

// DecodeOrder is Decode with the term in which the order was given.
func DecodeOrder(b []byte) (msg any, term uint64, err error) {
	if len(b) > MaxMessage {
		return nil, 0, fmt.Errorf("decode message: %d bytes, at most %d are allowed", len(b), MaxMessage)
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, 0, fmt.Errorf("decode message: %w", err)
	}
	t, ok := kinds[e.Kind]
	if !ok {
		return nil, 0, fmt.Errorf("decode message: unknown kind %q; are coordinator and agent of one version?", e.Kind)
	}
	v := reflect.New(t)
	if err := json.Unmarshal(e.Body, v.Interface()); err != nil {
		return nil, 0, fmt.Errorf("decode %s: %w", e.Kind, err)
	}
	return v.Elem().Interface(), e.Term, nil
}
