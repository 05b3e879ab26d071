package nats_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/nats"
)

// TestAnswersGoToWhoAsks: a question names the subject of its answer, and whoever
// answers may say more than whoever asks. Nobody speaks in the coordinator's name,
// or writes to its store, by letting it answer there.
func TestAnswersGoToWhoAsks(t *testing.T) {
	c := startCluster(t)
	h1, h2 := c.join(t, "h1"), c.join(t, "h2")
	victim := c.as(t, h2, nats.DialOptions{As: "agent.h2"})
	if err := victim.WaitConnected(within(t)); err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 16)
	stop, err := victim.Receive("agent.h2", func(from snapline.Address, m []byte) { heard <- fmt.Sprintf("%s: %s", from, m) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	stop, err = c.coordinator.Answer("coordinator.hello", func(_ context.Context, _ snapline.Address, q []byte) []byte { return q })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	store := openStore(t, c.coordinator)
	if err := store.Put(within(t), "group.g", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	nc, _ := c.raw(t, h1)
	ask := func(reply string) error {
		inbox := reply
		if inbox == "" {
			inbox = "_INBOX.agent_h1.x"
		}
		sub, err := nc.SubscribeSync("_INBOX.agent_h1.>")
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
		if err := nc.PublishRequest("snapline.ask.agent_h1.coordinator.hello", inbox, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		wait := time.Second / 4
		if reply == "" {
			wait = patience
		}
		_, err = sub.NextMsg(wait)
		return err
	}
	for _, reply := range []string{"snapline.msg.coordinator.agent.h2", "$KV.snapline.group.g", "$JS.API.STREAM.PURGE.KV_snapline", "_INBOX.agent_h2.x",
		"_INBOX.agent_h1x.y", "snapline.msg.agent_h1.coordinator"} {
		if err := ask(reply); !errors.Is(err, natsio.ErrTimeout) {
			t.Errorf("an answer to %s: %v", reply, err)
		}
	}
	if err := ask(""); err != nil {
		t.Errorf("an honest question: %v", err)
	}
	if err := c.coordinator.Send(t.Context(), "agent.h2", []byte("last")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard); m != "coordinator: last" {
		t.Errorf("h2 heard %q", m)
	}
	if b, _, err := store.Get(within(t), "group.g"); err != nil || string(b) != "{}" {
		t.Errorf("the store has %q, %v", b, err)
	}
}
