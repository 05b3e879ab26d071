package apitest

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/snapline/snapline"
)

// happened appends an event; it is called with mu held.
func (f *Fake) happened(e snapline.Event) {
	e.ID, e.At = uint64(len(f.events)+1), f.opts.Now()
	f.events = append(f.events, e)
	close(f.moreEvents)
	f.moreEvents = make(chan struct{})
}

// ended appends the event of an operation's end, with mu held.
func (f *Fake) ended(o snapline.Operation) {
	e := snapline.Event{Group: o.Group, Snapshot: o.Snapshot, Op: o.ID}
	switch {
	case o.Kind == "take" && o.Error == nil:
		e.Kind, e.Text = snapline.EventTaken, fmt.Sprintf("snapshot %s was taken", o.Snapshot)
	case o.Kind == "take":
		e.Kind, e.Code, e.Text, e.Reasons = snapline.EventTakeFailed, o.Error.Code, o.Error.Message, o.Error.Reasons
	case o.Kind == "restore" && o.Error == nil:
		e.Kind, e.Text = snapline.EventRestored, fmt.Sprintf("snapshot %s was restored", o.Snapshot)
		e.Lost = &snapline.LostInterval{From: o.Started, To: f.opts.Now(), PeersFrom: "made up"}
	case o.Kind == "restore":
		e.Kind, e.Code, e.Text, e.Reasons = snapline.EventRestoreFailed, o.Error.Code, o.Error.Message, o.Error.Reasons
	default:
		return
	}
	f.happened(e)
}

func (f *Fake) Events(_ context.Context, g snapline.GroupName, after uint64) ([]snapline.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.events[min(after, uint64(len(f.events))):])
	return slices.DeleteFunc(all, func(e snapline.Event) bool { return g != "" && e.Group != g }), nil
}

func (f *Fake) FollowEvents(ctx context.Context, after uint64) (iter.Seq[snapline.Event], error) {
	return func(yield func(snapline.Event) bool) {
		for {
			f.mu.Lock()
			all, more := f.events[min(after, uint64(len(f.events))):], f.moreEvents
			f.mu.Unlock()
			for _, e := range all {
				if ctx.Err() != nil || !yield(e) {
					return
				}
				after = e.ID
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}
