package node

import (
	"context"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// hush is one member's silence for a drain: see protocol/hush.go. It has a fence of
// its own, beside the one that carries a lease. That one is put up last, so it stands
// in front of the round's gate, which sees nothing of what does not leave.
type hush struct {
	snapline.Fence                // nil when it is down: the record is kept for those who stop the machine
	round          snapline.Round // 0: a former life's
	// since is when the silence had begun; Never: all is ready, and it has not yet.
	// until is when it ends, or has ended.
	since, until snapline.Instant
}

// speaking are the rules of a hush that has not begun: by its deadline, which is
// long over, the agent's next life knows what this fence was for.
var speaking = snapline.FenceRules{OpenUntil: snapline.Always, HushedUntil: runOut}

// readyHush gets everything ready to silence a member, whose gate is up.
func (f *fences) readyHush(ctx context.Context, k memberKey, m snapline.Member, round snapline.Round, nics []snapline.NIC) error {
	if err := noTap(nics); err != nil {
		return err
	}
	fence, err := f.agent.Fences.Raise(ctx, snapline.FenceSpec{
		Owner: snapline.FenceOwner{Group: k.group, Member: m}, NICs: nics, Rules: speaking, Restored: snapline.RestoredCodepoint,
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endHush(k)
	f.hushes[k] = &hush{Fence: fence, round: round}
	return nil
}

// hush silences a member until an instant, or ends the silence of that round.
func (f *fences) hush(k memberKey, round snapline.Round, until snapline.Instant) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hushes[k]
	if h == nil || h.round != round {
		h = &hush{}
	}
	if until == snapline.Never {
		f.hear(k, h)
		return nil
	}
	if h.Fence == nil {
		return &snapline.Error{Code: snapline.CodeFailed, Message: "nothing is ready to silence the machine"}
	}
	rules := speaking
	rules.HushedUntil = until
	if err := h.Set(rules); err != nil {
		return err
	}
	h.since, h.until = f.agent.Clock.Now(), until
	return nil
}

// keepHushed does what the coordinator says in its answer to the hello that was sent
// at the instant asked: it renews a silence, or ends one that the coordinator, when
// it answered, no longer wanted. Under f.mu.
func (f *fences) keepHushed(asked snapline.Instant, wanted []hushed) {
	left := map[memberKey]hushed{}
	for _, w := range wanted {
		left[memberKey{w.Group, w.Member}] = w
	}
	for k, h := range f.hushes {
		w, is := left[k]
		switch {
		case h.Fence == nil || h.since == snapline.Never:
		case is && w.Round == h.round:
			f.renewHush(k, h, asked.Add(min(w.For, protocol.HushSpan)))
		case asked > h.since: // else the answer may be older than the silence
			f.hear(k, h)
		}
	}
}

// renewHush moves the deadline of a silence that has not ended. One that has is not
// begun again: the machine has been heard.
func (f *fences) renewHush(k memberKey, h *hush, until snapline.Instant) {
	if f.agent.Clock.Now() >= h.until {
		return // tend takes it down
	}
	rules := speaking
	rules.HushedUntil = until
	if err := h.Set(rules); err != nil {
		f.agent.Log.Warn("renew the silence", "group", k.group, "member", k.member, "error", err)
		h.until = min(h.until, until)
		return
	}
	if f.agent.Clock.Now() >= h.until { // it may have ended in this very moment
		f.quit(k, h)
		return
	}
	h.until = until
}

// hear ends a silence now; under f.mu.
func (f *fences) hear(k memberKey, h *hush) {
	if h.Fence == nil {
		return
	}
	h.until = min(h.until, f.agent.Clock.Now())
	f.quit(k, h)
}

// quit takes a hush's fence down, and keeps what is known of the silence; under f.mu.
func (f *fences) quit(k memberKey, h *hush) {
	if h.Fence == nil {
		return
	}
	err := h.Lower()
	f.lowered(k, err)
	if err == nil { // else it is tried again
		h.Fence = nil
	}
}

// endHush forgets a member's silence; under f.mu.
func (f *fences) endHush(k memberKey) {
	if h := f.hushes[k]; h != nil {
		if f.quit(k, h); h.Fence == nil {
			delete(f.hushes, k)
		}
	}
}

// forgetHush ends what an earlier round has left: what that was for is over.
func (f *fences) forgetHush(k memberKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endHush(k)
}

// dropHush lets go of what a round has got ready and not used.
func (f *fences) dropHush(k memberKey, round snapline.Round) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.hushes[k]; h != nil && h.round == round && h.since == snapline.Never {
		f.endHush(k)
	}
}

// tendHushes takes the fences down whose deadline is over; under f.mu.
func (f *fences) tendHushes(now snapline.Instant) {
	for k, h := range f.hushes {
		if h.since != snapline.Never && now >= h.until {
			f.quit(k, h)
		}
	}
}

// foundHush takes over a former life's hush. Nobody knows since when it is silent;
// it ends when the coordinator answers, or by its deadline. Under f.mu.
func (f *fences) foundHush(k memberKey, fence snapline.Fence, rules snapline.FenceRules) {
	f.endHush(k)
	f.hushes[k] = &hush{Fence: fence, since: f.agent.Clock.Now(), until: rules.HushedUntil}
}

// silence tells how long a member was silent whose machine has just been stopped;
// false if no round has silenced it. Under f.mu.
func (f *fences) silence(k memberKey) (protocol.Silence, bool) {
	h := f.hushes[k]
	if h == nil || h.round == 0 || h.since == snapline.Never {
		return protocol.Silence{}, false
	}
	now := f.agent.Clock.Now()
	return protocol.Silence{Round: h.round, ForNS: int64(min(now, h.until).Sub(h.since)), HeardNS: int64(max(0, now.Sub(h.until)))}, true
}
