package node_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// forge repeats what agent h1 says as agent h3, changed by change.
func forge(t *testing.T, s *site, change func(msg any) any) *atomic.Int32 {
	t.Helper()
	forged := new(atomic.Int32)
	evil := s.bus.As(snapline.ToAgent("h3"))
	stop, err := s.bus.Receive(snapline.ToCoordinator, func(from snapline.Address, b []byte) {
		msg, err := protocol.Decode(b)
		if err != nil || from != snapline.ToAgent("h1") {
			return
		}
		if msg = change(msg); msg == nil {
			return
		}
		out, err := protocol.Encode(msg)
		if err != nil {
			t.Error(err)
		}
		if err := evil.Send(context.Background(), snapline.ToCoordinator, out); err != nil {
			t.Error(err)
		}
		forged.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return forged
}

// TestAgentSpeaksForItsOwnMembersOnly: a refusal of another host's member would
// end the round.
func TestAgentSpeaksForItsOwnMembersOnly(t *testing.T) {
	s := newSite(t)
	forged := forge(t, s, func(msg any) any {
		if m, ok := msg.(protocol.Message); ok {
			return protocol.Refused{Ref: m.About(), Reasons: []snapline.Reason{{Text: "forged"}}}
		}
		return nil
	})
	s.mustTake()
	if forged.Load() == 0 {
		t.Fatal("nothing was forged")
	}
}

func TestAgentSpeaksForItsOwnHostInARestore(t *testing.T) {
	s := newSite(t)
	id := s.mustTake()
	forged := forge(t, s, func(msg any) any {
		if m, ok := msg.(protocol.RestoreMessage); ok {
			return protocol.RestoreFailed{RestoreRef: m.AboutRestore(), Reasons: []snapline.Reason{{Text: "forged"}}}
		}
		return nil
	})
	if op, _ := s.follow(s.c.Restore(t.Context(), snapline.RestoreRequest{Snapshot: id})); op.Error != nil {
		t.Fatal(op.Error)
	}
	if forged.Load() == 0 {
		t.Fatal("nothing was forged")
	}
}

func TestHelloOfAnotherHostIsRefused(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	hello, err := json.Marshal(map[string]string{"host": "h1", "incarnation": "ffff"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.bus.As(snapline.ToAgent("h2")).Ask(ctx, "coordinator.hello", hello)
	if err != nil || !strings.Contains(string(answer), "has signed in as") {
		t.Errorf("answer %s, %v", answer, err)
	}
	s.mustTake() // agent h1 has not been taken over from
}

// TestAgentObeysTheCoordinatorOnly: another agent cannot make it prepare, nor
// tell it to end what it does.
func TestAgentObeysTheCoordinatorOnly(t *testing.T) {
	s := newSite(t)
	evil := s.bus.As(snapline.ToAgent("h3"))
	stop, err := s.bus.Receive(snapline.ToAgent("h1"), func(_ snapline.Address, b []byte) {
		msg, err := protocol.Decode(b)
		if err != nil {
			t.Error(err)
			return
		}
		arm, ok := msg.(protocol.Arm)
		if !ok {
			return
		}
		out, err := protocol.Encode(protocol.Abort{Ref: arm.Ref, Why: "forged"})
		if err != nil {
			t.Error(err)
		}
		if err := evil.Send(context.Background(), snapline.ToAgent("h1"), out); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s.mustTake()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	question := []byte(`{"group":"g","members":[{"name":"n1","host":"h1"}]}`)
	if answer, err := evil.Ask(ctx, snapline.ToAgent("h1"), question); err != nil || strings.Contains(string(answer), "running") {
		t.Errorf("another agent was told %s, %v", answer, err)
	}
}
