package node

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
)

// TestEventsAreBoundedAndOutliveTheCoordinator adds more events than are kept,
// while the store is away for a part of them, and reads them in a second life.
func TestEventsAreBoundedAndOutliveTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore()
		e := newEvents(store, BootClock{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); e.save(ctx) }()
		for i := range keptEvents + 40 {
			e.add(snapline.Event{Kind: snapline.EventTaken, Text: fmt.Sprint(i)})
		}
		synctest.Wait()
		cancel()
		<-done
		e.flush(t.Context())
		if keys, err := store.Keys(t.Context(), eventPrefix); err != nil || len(keys) != keptEvents {
			t.Fatalf("%d keys in the store, %v", len(keys), err)
		}
		next := newEvents(store, BootClock{}, slog.New(slog.DiscardHandler))
		if err := next.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		next.add(snapline.Event{Kind: snapline.EventRestored, Text: "in the second life"})
		all, _ := next.after(0)
		if len(all) != keptEvents || all[0].ID != 42 || all[len(all)-1].ID != keptEvents+41 {
			t.Errorf("%d events from %d to %d", len(all), all[0].ID, all[len(all)-1].ID)
		}
		if late, _ := next.after(keptEvents + 40); len(late) != 1 || late[0].Text != "in the second life" {
			t.Errorf("after the first life's last one: %+v", late)
		}
	})
}
